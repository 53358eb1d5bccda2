"""The compiled training step of a user's own loop."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import jax

from fnopt.core.entry import entry
from fnopt.core.types import Batch, Metrics
from fnopt.data.numbers import unshared
from fnopt.train.arguments import check_objective, check_state
from fnopt.train.layout import Layout
from fnopt.train.objective import Objective
from fnopt.train.options import StepOptions
from fnopt.train.state import TrainState
from fnopt.train.step import train_step


@entry("make_train_step(objective, accumulate=…); the optimizer is in the state")
def make_train_step(
    objective: Objective, *, packed: bool | None = None, **options: Any
) -> Callable[[TrainState, Batch], tuple[TrainState, Metrics]]:
    """The compiled step ``train_step(state, batch) -> (state, metrics)``.

    It takes over the buffers of the state that it receives; continue with the one it returns. NumPy
    arrays of the batch are copied, and may be filled again at once. Metrics are
    the loss before the update, the learning rate applied (if the optimizer has one), the norm of
    the gradient before any clipping (of frozen parameters none is computed), the norm of the
    update, and the means of the objective's own metrics. With loss scaling there are also the
    ``loss_scale`` of this step and ``skipped``, the number of steps left out so far.

    A step whose loss, gradient or update is not finite is not taken: parameters, their average,
    model state and ``step`` stay, ``update_norm`` is not finite, and ``state.skipped`` counts it.
    The optimizer's state stays too, unless it is the optimizer that turned a finite gradient into
    an update that is not.

    Args:
        objective: the objective to minimize, from :func:`objective`.
        packed: whether the state that is returned stores its small arrays packed, which is read as
            before (``state.packed()``); None where it makes steps faster: everywhere but with
            stochastic rounding.
        **options: the arguments of :class:`StepOptions`.
    """
    check_objective("make_train_step(objective)", objective)
    chosen = StepOptions.of("make_train_step", options)
    layout = Layout(packed, chosen.precision)

    @functools.partial(jax.jit, donate_argnums=0)
    def compiled(state: TrainState, batch: Batch) -> tuple[TrainState, Metrics]:
        return train_step(objective, state, batch, chosen)

    @entry("step(state, batch), where a batch is one argument, (inputs, targets)")
    def step(state: TrainState, batch: Batch) -> tuple[TrainState, Metrics]:
        check_state("step(state, batch)", state)
        # Copies: a loader may fill the same memory again, while the step still reads from it.
        return compiled(layout(state), unshared(batch))

    def lower(state: TrainState, batch: Batch) -> Any:
        return compiled.lower(layout(state), batch)

    vars(step).update(lower=lower, **{name: getattr(compiled, name) for name in ("_cache_size",)})
    return step
