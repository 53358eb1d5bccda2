"""Checks of the arguments that the functions of a run have in common: objective, optimizer, state.

Each refuses what is something else, and says in one or two sentences what was meant to be there and
how to get it.
"""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from fnopt import registry
from fnopt.core import Schedule
from fnopt.data.numbers import is_traced
from fnopt.train.kinds import (
    description,
    is_array,
    is_examples,
    is_model,
    is_optimizer,
    is_result,
    is_state,
    of_torch,
)
from fnopt.train.objective import Objective


def check_objective(caller: str, objective: Any) -> None:
    """Refuses what is no objective.

    Args:
        caller: the call that is right, such as ``"fit(objective, tx, data)"``.
        objective: the argument.

    Raises:
        TypeError: it is something else.
    """
    if isinstance(objective, Objective):
        return
    if isinstance(objective, type):
        cure = f"create the model and make one of it, objective({objective.__name__}(…), loss)"
    elif is_model(objective):
        cure = "make one of it, objective(model, loss), such as objective(model, 'squared_error')"
    elif of_torch(objective, "nn.Module"):
        cure = (
            "write the model in Flax or Equinox; fnopt.pretrained.load_pretrained loads its weights"
        )
    elif is_optimizer(objective) or is_state(objective) or is_examples(objective):
        cure = "the objective comes first"
    elif callable(objective):
        cure = "make one of it, objective(function, params=…)"
    else:
        cure = "make one, objective(model, loss)"
    raise TypeError(f"{caller}: objective is {description(objective)}, not an objective; {cure}")


def check_optimizer(caller: str, tx: Any) -> None:
    """Refuses what is no optimizer of fnopt or optax.

    Args:
        caller: the call that is right.
        tx: the argument.

    Raises:
        TypeError: it is something else.
    """
    if is_optimizer(tx):
        return
    raise TypeError(
        f"{caller}: tx is {description(tx)}, not an optimizer of fnopt or optax;"
        f" {_optimizer_cure(tx)}"
    )


def _optimizer_cure(tx: Any) -> str:
    if isinstance(tx, type) and issubclass(tx, optax.GradientTransformation):
        return f"call the class, {_home(tx)}{tx.__name__}(learning_rate)"
    if of_torch(tx, "optim.Optimizer"):
        name = next((n for n in registry.optimizers() if n == type(tx).__name__.lower()), "adamw")
        return f"use fnopt.{name}(learning_rate), or torch's names in fnopt.compat.torch"
    if isinstance(tx, str):
        near = registry.optimizers().get(tx.lower())
        return f"use fnopt.optimizer({tx.lower() if near else 'adamw'!r}, learning_rate)"
    if isinstance(tx, functools.partial) or (callable(tx) and not isinstance(tx, Schedule)):
        return "call it: an optimizer is what adamw(learning_rate) returns"
    if isinstance(tx, Schedule) or (isinstance(tx, (int, float)) and not isinstance(tx, bool)):
        return "a learning rate is an argument of one: fnopt.adamw(learning_rate)"
    if is_array(tx) or is_examples(tx):
        return "the optimizer comes before the data, and data are one argument, (inputs, targets)"
    return "give one of fnopt or optax, such as fnopt.adamw(1e-3)"


def _home(tx: type) -> str:
    return "fnopt." if tx.__module__.startswith("fnopt.") else ""


def check_state(caller: str, state: Any) -> None:
    """Refuses what is no train state, and one whose arrays a step has taken over.

    Args:
        caller: the call that is right.
        state: the argument.

    Raises:
        TypeError: it is something else.
        ValueError: its arrays are gone.
    """
    if not is_state(state):
        if is_result(state):
            cure = "give its .state"
        elif isinstance(state, (Objective, tuple)) or is_optimizer(state) or is_array(state):
            cure = "the arguments are in the wrong order"
        else:
            cure = (
                "TrainState.create(objective, tx, key) makes one, and .replace(params=…) puts"
                " parameters into it"
            )
        raise TypeError(f"{caller}: state is {description(state)}, not a train state; {cure}")
    if is_consumed(state):
        raise ValueError(
            f"{caller}: this state was consumed by an earlier step, which took over its arrays;"
            " continue with the state that the step returned: state, metrics = step(state, batch)"
        )


def is_consumed(state: Any) -> bool:
    """Whether a step has taken over the arrays of a train state."""
    step = state.step  # every step writes it, so it goes with the others
    return isinstance(step, jax.Array) and not is_traced(step) and step.is_deleted()


def check_value(caller: str, argument: str, value: Any) -> None:
    """Refuses a class that was not called, and all else that has no state of its own to begin with.

    Args:
        caller: the call that is right.
        argument: name of the argument, ``"average"`` or ``"stopping"``.
        value: the average, or early stopping; None is none.

    Raises:
        TypeError: it is something else.
    """
    if value is None or (not isinstance(value, type) and hasattr(value, "init")):
        return
    usual = {"average": "ema_of_params", "stopping": "early_stopping"}[argument]
    name = value.__name__ if isinstance(value, type) else usual
    raise TypeError(
        f"{caller}: {argument} is {description(value)}; call the class, {argument}={name}(…)"
    )


def check_key(caller: str, key: Any) -> jax.Array:
    """The random key of an argument.

    Args:
        caller: the call that is right.
        key: a PRNG key, or an integer to make one.

    Raises:
        TypeError: it is neither.
    """
    what = description(key)
    if isinstance(key, int) and not isinstance(key, bool):
        return jax.random.key(key)
    if isinstance(key, (np.ndarray, np.generic, jax.Array)):
        key = key if isinstance(key, jax.Array) else jnp.asarray(key)
        if jnp.issubdtype(key.dtype, jax.dtypes.prng_key):
            if key.ndim == 0:
                return key
            what = f"{key.size} keys"
        elif jnp.issubdtype(key.dtype, jnp.integer) and key.ndim == 0:
            return jax.random.key(key)
        elif key.dtype == jnp.uint32 and key.ndim == 1:  # as jax.random.PRNGKey makes them
            return key
    raise TypeError(
        f"{caller}: key must be a PRNG key or an integer, got {what}; give an integer such as 0,"
        " or jax.random.key(0)"
    )
