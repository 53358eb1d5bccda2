"""The first values of a step that were not finite: the step is computed again, in parts."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from fnopt.core.types import Batch, ModelState, Params, PyTree
from fnopt.train.about import by_path
from fnopt.train.accumulate import split_batch
from fnopt.train.keys import micro_batch_key, step_keys
from fnopt.train.measure import Passes, join_frozen, passes_of
from fnopt.train.objective import Objective
from fnopt.train.options import StepOptions
from fnopt.train.state import TrainState

MOST = 4
"""Number of paths that are named."""


def locate_nonfinite(
    objective: Objective,
    state: TrainState,
    batch: Batch,
    options: StepOptions | None = None,
    grad_norm: Any = 0.0,
) -> tuple[str, ...]:
    """The paths of the values that are not finite, in the first part of a step that has some.

    Of a loss that is not finite the parts are the batch, the parameters, the model state, the
    outputs, and the loss itself; else the gradient; else it is the optimizer's update. Of a
    batch that is computed in micro-batches it is the first of these in the first micro-batch that
    has one, whose number is named.

    Args:
        objective: the objective to minimize.
        state: the state before the step.
        batch: the batch of the step.
        options: the options of the step; the defaults if None.
        grad_norm: the norm of the gradient that the step has reported.

    Returns:
        Paths such as ``"gradient.dense.kernel"``, at most :data:`MOST` of them, and further words.
    """
    options = options or StepOptions()
    try:
        where = _in_parts(objective, state.unpacked(), batch, options)
    except Exception as error:  # a description of an error must not hide it
        return (f"an unknown position ({error!r})",)
    return where or (("the update" if jnp.isfinite(grad_norm) else "the norm of the gradient"),)


def _in_parts(
    objective: Objective, state: TrainState, batch: Batch, options: StepOptions
) -> tuple[str, ...]:
    """The first cause in a whole batch or in its micro-batches, if any."""
    passes, key = passes_of(objective, state, options), step_keys(state).forward
    if options.accumulate == 1:
        return _in_batch(passes, state.params, state.model_state, batch, key)[0]
    model_state, parts = state.model_state, split_batch(batch, options.accumulate)
    for i in range(options.accumulate):
        part = jax.tree.map(lambda x, i=i: x[i], parts)
        # Batch statistics pass from one micro-batch to the next.
        where, model_state = _in_batch(
            passes, state.params, model_state, part, micro_batch_key(key, i)
        )
        if where:
            return (*where, f"micro-batch {i + 1} of {options.accumulate}")
    return ()


def _in_batch(
    passes: Passes, params: Params, model_state: ModelState, batch: Batch, key: jax.Array
) -> tuple[tuple[str, ...], ModelState]:
    """The first cause in one forward and backward pass, if any, and the next model state."""
    # Uncompiled: a program for a step that runs once costs more than it saves.
    passed, leaves = passes.backward(params, model_state, batch, key)
    if jnp.isfinite(passed.loss):
        grads = join_frozen(leaves, params, passes.frozen, jnp.zeros_like)
        return _not_finite("gradient", grads), passed.model_state
    where = (
        _not_finite("batch", batch)
        or _not_finite("params", params)
        or _not_finite("model_state", model_state)
        or _not_finite("outputs", passed.outputs)
        or (_of_losses(passes.objective.losses(passed.outputs, batch)),)
    )
    return where, passed.model_state


def _of_losses(losses: jax.Array) -> str:
    if losses.ndim == 0:
        return "the loss"
    bad = [str(i) for i, x in enumerate(losses) if not jnp.isfinite(x)]
    if not bad:
        return "the mean of the losses"
    named = ", ".join(bad[:MOST]) + ", …" * (len(bad) > MOST)
    return f"the loss of {len(bad)} of {len(losses)} examples (number {named})"


def _not_finite(name: str, tree: PyTree) -> tuple[str, ...]:
    paths = [
        f"{name}.{path}" if path else name
        for path, x in by_path(tree).items()
        if jnp.issubdtype(jnp.result_type(x), jnp.inexact) and not jnp.all(jnp.isfinite(x))
    ]
    more = (f"{len(paths) - MOST} more",) if len(paths) > MOST else ()
    return (*paths[:MOST], *more)
