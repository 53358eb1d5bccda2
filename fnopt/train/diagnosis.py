"""Where a step that was not finite went wrong: it is made again, in parts."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from fnopt.core.transform import as_transform
from fnopt.train.about import by_path
from fnopt.train.accumulate import key_of, split
from fnopt.train.keys import keys_of
from fnopt.train.objective import Objective
from fnopt.train.options import StepOptions
from fnopt.train.precision import forward
from fnopt.train.state import TrainState
from fnopt.train.step import loss_scale_of

MOST = 4
"""How many paths are named."""


def diagnose(
    objective: Objective,
    state: TrainState,
    batch: Any,
    options: StepOptions | None = None,
    grad_norm: Any = 0.0,
) -> tuple[str, ...]:
    """The paths of what is not finite at the first place where something is not.

    Of a loss that is not finite the places are the batch, the parameters, the model state, the
    outputs, and the loss itself; else the gradient; else it is the update the optimizer made. Of a
    batch that is computed in micro-batches it is the first of these in the first micro-batch that
    has one, whose number is named.

    Args:
        objective: what is minimized.
        state: before the step.
        batch: of the step.
        options: of the step.
        grad_norm: that the step has reported.
    """
    options = options or StepOptions()
    try:
        where = _in_parts(objective, state, batch, options)
    except Exception as error:  # what is said of an error must not hide it
        return (f"a place that could not be found ({error!r})",)
    return where or (("the update" if jnp.isfinite(grad_norm) else "the norm of the gradient"),)


def _in_parts(
    objective: Objective, state: TrainState, batch: Any, options: StepOptions
) -> tuple[str, ...]:
    """The first place in a whole batch or in its micro-batches, if any."""
    key = keys_of(state).forward
    if options.accumulate == 1:
        return _in_batch(objective, state, batch, key, options)[0]
    model_state, parts = state.model_state, split(batch, options.accumulate)
    for i in range(options.accumulate):
        part = jax.tree.map(lambda x, i=i: x[i], parts)
        # Batch statistics go on from one micro-batch to the next.
        before = state.replace(model_state=model_state)
        where, model_state = _in_batch(objective, before, part, key_of(key, i), options)
        if where:
            return (*where, f"micro-batch {i + 1} of {options.accumulate}")
    return ()


def _in_batch(
    objective: Objective, state: TrainState, batch: Any, key: jax.Array, options: StepOptions
) -> tuple[tuple[str, ...], Any]:
    """The first place in one forward and backward pass, if any, and the next model state."""

    scale = loss_scale_of(state, options)

    def scaled_loss(params: Any) -> Any:
        outputs, model_state = forward(
            objective, options.precision, params, state.model_state, batch, key=key, train=True
        )
        loss = objective.loss(outputs, batch)
        scaled = loss if scale is None else loss * jnp.asarray(scale, loss.dtype)
        return scaled, (loss, outputs, objective.losses(outputs, batch), model_state)

    # Uncompiled: a program for a step that is made once costs more than it saves.
    grads, (value, outputs, losses, model_state) = jax.grad(scaled_loss, has_aux=True)(state.params)
    if jnp.isfinite(value):
        frozen = as_transform(state.tx).frozen(state.params)  # of these no gradient was computed
        grads = jax.tree.map(lambda g, still: jnp.zeros(()) if still else g, grads, frozen)
        return _not_finite("gradient", grads), model_state
    where = (
        _not_finite("batch", batch)
        or _not_finite("params", state.params)
        or _not_finite("model_state", state.model_state)
        or _not_finite("outputs", outputs)
        or (_of_losses(losses),)
    )
    return where, model_state


def _of_losses(losses: jax.Array) -> str:
    if losses.ndim == 0:
        return "the loss"
    bad = [str(i) for i, x in enumerate(losses) if not jnp.isfinite(x)]
    if not bad:
        return "the mean of the losses"
    named = ", ".join(bad[:MOST]) + ", …" * (len(bad) > MOST)
    return f"the loss of {len(bad)} of {len(losses)} examples (number {named})"


def _not_finite(name: str, tree: Any) -> tuple[str, ...]:
    paths = [
        f"{name}.{path}" if path else name
        for path, x in by_path(tree).items()
        if jnp.issubdtype(jnp.result_type(x), jnp.inexact) and not jnp.all(jnp.isfinite(x))
    ]
    more = (f"{len(paths) - MOST} more",) if len(paths) > MOST else ()
    return (*paths[:MOST], *more)
