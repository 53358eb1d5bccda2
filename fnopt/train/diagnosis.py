"""Where a step that was not finite went wrong: it is made again, in parts."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from fnopt.core import global_norm
from fnopt.train.about import by_path
from fnopt.train.objective import Objective
from fnopt.train.precision import forward
from fnopt.train.state import TrainState

MOST = 4
"""How many paths are named."""


def diagnose(
    objective: Objective, state: TrainState, batch: Any, precision: Any = None
) -> tuple[str, ...]:
    """The paths of what is not finite at the first place where something is not.

    Of a loss that is not finite the places are the batch, the parameters, the model state, the
    outputs, and the loss itself; else the gradient; else it is the update the optimizer made.

    Args:
        objective: what is minimized.
        state: before the step.
        batch: of the step.
        precision: of the run, if it has one.
    """
    # As in the step, so that dropout draws the same.
    key = jax.random.fold_in(jax.random.fold_in(state.key, state.step), 0)

    def loss(params: Any) -> Any:
        outputs, _ = forward(
            objective, precision, params, state.model_state, batch, key=key, train=True
        )
        return objective.loss(outputs, batch), (outputs, objective.losses(outputs, batch))

    # Uncompiled: a program for a step that is made once costs more than it saves.
    (value, (outputs, losses)), grads = jax.value_and_grad(loss, has_aux=True)(state.params)
    if jnp.isfinite(value):
        norm = "the update" if jnp.isfinite(global_norm(grads)) else "the norm of the gradient"
        return _not_finite("gradient", grads) or (norm,)
    return (
        _not_finite("batch", batch)
        or _not_finite("params", state.params)
        or _not_finite("model_state", state.model_state)
        or _not_finite("outputs", outputs)
        or (_of_losses(losses),)
    )


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
