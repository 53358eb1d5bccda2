"""An objective, or a plain function instead of one, as a function of parameters and batch."""

from __future__ import annotations

import sys
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


def first_params(caller: str, objective: Any, batch: Batch, key: jax.Array) -> Params:
    """The parameters with which an objective begins, as ``TrainState.create`` has them.

    Args:
        caller: the name of the public function, for the message of an error.
        objective: an objective.
        batch: a batch, from which shapes follow.
        key: the PRNG key by which they are drawn.

    Raises:
        TypeError: it is no objective.
    """
    if not _is_objective(objective):
        _check_function(caller, objective)
        raise TypeError(f"{caller}: params is None; a function needs parameters, give them")
    return objective.init(key, batch)[0]


def _function(
    caller: str,
    objective: Any,
    batch: Batch,
    model_state: ModelState,
    key: jax.Array,
    finish: Callable[[Outputs, Batch], Any],
) -> tuple[Callable[..., Any], tuple[Any, ...]]:
    if _is_objective(objective):
        if model_state is None:
            model_state = objective.init(key, batch)[1]

        def function(params: Params, batch: Batch, model_state: ModelState, key: Any) -> Any:
            outputs, _ = objective.forward(params, model_state, batch, key=key, train=True)
            return finish(outputs, batch)

        return function, (model_state, key)
    _check_function(caller, objective)
    if model_state is not None:
        raise TypeError(f"{caller}: model_state= is for an objective; a function has none")
    return objective, ()


def _is_objective(x: Any) -> bool:
    return hasattr(x, "forward") and hasattr(x, "loss")


def _check_function(caller: str, objective: Any) -> None:
    """Refuses what is no function of parameters and batch, a model above all."""
    kind = type(objective).__name__
    if not callable(objective):
        raise TypeError(
            f"{caller}: objective must be an objective, as fnopt.train.objective(…) makes it, or a"
            f" function of (params, batch), got {kind}"
        )
    if _is_model(objective):
        raise TypeError(
            f"{caller}: objective is a model ({kind}), not an objective; give it a loss,"
            f" {caller}(fnopt.train.objective(model, loss), params, batch)"
        )


def _is_model(x: Any) -> bool:
    """Whether this is a model of Flax or Equinox; one of a library never imported is none."""
    modules = (("flax.nnx", "Module"), ("flax.linen", "Module"), ("equinox", "Module"))
    kinds = [getattr(sys.modules.get(library), name, ()) for library, name in modules]
    return isinstance(x, tuple(kinds))
