"""An objective, or a plain function in its place, as a function of parameters and batch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax


def loss_of(
    asker: str, objective: Any, batch: Any, model_state: Any, key: jax.Array
) -> tuple[Callable[..., Any], tuple[Any, ...]]:
    """``loss(params, batch, *rest)`` as in a step of training, and what the rest is.

    Raises:
        TypeError: it is neither an objective nor a function.
    """
    return _given(asker, objective, batch, model_state, key, lambda out, b: objective.loss(out, b))


def outputs_of(
    asker: str, objective: Any, batch: Any, model_state: Any, key: jax.Array
) -> tuple[Callable[..., Any], tuple[Any, ...]]:
    """``outputs(params, batch, *rest)``, likewise."""
    return _given(asker, objective, batch, model_state, key, lambda out, b: out)


def _given(
    asker: str,
    objective: Any,
    batch: Any,
    model_state: Any,
    key: jax.Array,
    finish: Callable[[Any, Any], Any],
) -> tuple[Callable[..., Any], tuple[Any, ...]]:
    if hasattr(objective, "forward") and hasattr(objective, "loss"):
        if model_state is None:
            model_state = objective.init(key, batch)[1]

        def function(params: Any, batch: Any, model_state: Any, key: Any) -> Any:
            outputs, _ = objective.forward(params, model_state, batch, key=key, train=True)
            return finish(outputs, batch)

        return function, (model_state, key)
    if not callable(objective):
        raise TypeError(
            f"{asker}: objective must be an objective, as fnopt.train.objective(…) makes it, or a"
            f" function of (params, batch), got {type(objective).__name__}"
        )
    if model_state is not None:
        raise TypeError(f"{asker}: model_state= is for an objective; a function has none")
    return objective, ()
