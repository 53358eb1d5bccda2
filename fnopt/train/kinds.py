"""What an argument is, in a few words, for the message that refuses it."""

from __future__ import annotations

import functools
import os
import reprlib
import sys
from typing import Any

import jax
import numpy as np
import optax
from flax import linen, nnx

from fnopt.core import Schedule
from fnopt.train.objective import Objective


def is_equinox(model: Any) -> bool:
    """Whether this is an Equinox module."""
    # A module of a library that was never imported is none: there is no need to import it.
    equinox: Any = sys.modules.get("equinox")
    return equinox is not None and isinstance(model, equinox.Module)


def of_torch(x: Any, *names: str) -> bool:
    """Whether this is an instance of one of torch's classes, named below ``torch``."""
    torch: Any = sys.modules.get("torch")
    if torch is None:
        return False
    for name in names:
        kind = functools.reduce(lambda x, part: getattr(x, part, None), name.split("."), torch)
        if kind is not None and isinstance(x, kind):  # pyright: ignore[reportArgumentType]
            return True
    return False


def is_model(x: Any) -> bool:
    """Whether this is a model of Flax or of Equinox."""
    return isinstance(x, (nnx.Module, linen.Module)) or is_equinox(x)


def is_optimizer(x: Any) -> bool:
    """Whether this is an optimizer, or another transform."""
    return isinstance(x, (optax.GradientTransformation, optax.MultiSteps))


def is_array(x: Any) -> bool:
    """Whether this is an array of NumPy, jax or torch."""
    return isinstance(x, (np.ndarray, jax.Array)) or of_torch(x, "Tensor")


def is_state(x: Any) -> bool:
    """Whether this is a train state. (Its class needs what is in this module.)"""
    return all(hasattr(type(x), name) for name in ("moved_to", "eval_params"))


def is_result(x: Any) -> bool:
    """Whether this has a train state as its attribute ``state``, as the result of a run."""
    return is_state(getattr(x, "__dict__", {}).get("state"))


def is_examples(x: Any) -> bool:
    """Whether this looks like examples: an array, or a tuple, list or dict of arrays."""
    if is_array(x):
        return True
    items = list(x.values()) if type(x) is dict else x if type(x) in (tuple, list) else ()
    return bool(items) and all(map(is_array, items))


def description(x: Any) -> str:
    """What something is, in a few words, such as ``a Flax NNX model (MLP)``."""
    name = type(x).__name__
    if isinstance(x, type):
        return f"the class {x.__name__}"
    for is_kind, words in _KINDS:
        if is_kind(x):
            return f"{words} ({name})"
    if isinstance(x, (str, bytes, os.PathLike, bool, int, float, complex, type(None))):
        return f"{reprlib.repr(x)} ({name})" if x is not None else "None"
    if isinstance(x, functools.partial):
        return f"a partial of {getattr(x.func, '__name__', 'a function')}"
    if is_array(x):
        return f"an array of shape {tuple(x.shape)}"
    if isinstance(x, (tuple, list, dict)):
        return f"a {name} of {len(x)} {'items' if len(x) != 1 else 'item'}"
    if callable(x) and hasattr(x, "__name__"):
        return f"the function {x.__name__}"
    return f"an object of type {name}"


_KINDS = (
    (lambda x: isinstance(x, nnx.Module), "a Flax NNX model"),
    (lambda x: isinstance(x, linen.Module), "a Flax Linen module"),
    (lambda x: isinstance(x, nnx.State), "parameters of a Flax NNX model"),
    (is_equinox, "an Equinox module"),
    (lambda x: of_torch(x, "nn.Module"), "a PyTorch module"),
    (lambda x: of_torch(x, "optim.Optimizer"), "a PyTorch optimizer"),
    (is_optimizer, "an optimizer"),
    (lambda x: isinstance(x, Schedule), "a schedule"),
    (lambda x: isinstance(x, Objective), "an objective"),
    (is_state, "a train state"),
    (is_result, "the result of a run"),
)
"""Kinds of things that have a name here, in the order in which they are tried."""
