"""An objective, or a plain function instead of one, as a function of parameters and batch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax

from fnopt.core.types import Batch, ModelState, Outputs, Params


def loss_of(
    caller: str, objective: Any, batch: Batch, model_state: ModelState, key: jax.Array
) -> tuple[Callable[..., Any], tuple[Any, ...]]:
    """The loss of an objective as in a step of training.

    Args:
        caller: the name of the public function, for the message of an error.
        objective: an objective, or a function ``loss(params, batch)``.
        batch: a batch; an objective's model state is initialized with it.
        model_state: the model state; if None the initial one.
        key: the PRNG key of the forward pass.

    Returns:
        A function ``loss(params, batch, *rest)`` and the rest of its arguments.

    Raises:
        TypeError: it is neither an objective nor a function.
    """

    def loss(outputs: Outputs, batch: Batch) -> Any:
        return objective.loss(outputs, batch)

    return _function(caller, objective, batch, model_state, key, loss)


def outputs_of(
    caller: str, objective: Any, batch: Batch, model_state: ModelState, key: jax.Array
) -> tuple[Callable[..., Any], tuple[Any, ...]]:
    """The outputs of an objective's model as in a step of training.

    The arguments are those of :func:`loss_of`, but that a function is ``outputs(params, batch)``.

    Returns:
        A function ``outputs(params, batch, *rest)`` and the rest of its arguments.

    Raises:
        TypeError: it is neither an objective nor a function.
    """
    return _function(caller, objective, batch, model_state, key, lambda outputs, batch: outputs)


def _function(
    caller: str,
    objective: Any,
    batch: Batch,
    model_state: ModelState,
    key: jax.Array,
    finish: Callable[[Outputs, Batch], Any],
) -> tuple[Callable[..., Any], tuple[Any, ...]]:
    if hasattr(objective, "forward") and hasattr(objective, "loss"):
        if model_state is None:
            model_state = objective.init(key, batch)[1]

        def function(params: Params, batch: Batch, model_state: ModelState, key: Any) -> Any:
            outputs, _ = objective.forward(params, model_state, batch, key=key, train=True)
            return finish(outputs, batch)

        return function, (model_state, key)
    if not callable(objective):
        raise TypeError(
            f"{caller}: objective must be an objective, as fnopt.train.objective(…) makes it, or a"
            f" function of (params, batch), got {type(objective).__name__}"
        )
    if model_state is not None:
        raise TypeError(f"{caller}: model_state= is for an objective; a function has none")
    return objective, ()
