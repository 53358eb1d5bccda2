"""The model that the command line trains: one that fits the data, or a user's, with its loss."""

from __future__ import annotations

import functools
import importlib
import importlib.util
import inspect
import math
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

from fnopt.cli.data import Data
from fnopt.cli.usage import UsageError, no_such
from fnopt.core import did_you_mean
from fnopt.core.types import Batch
from fnopt.data import pixels
from fnopt.train import Objective, accuracy, objective
from fnopt.train.models import MLP, ConvNet

ARGUMENTS: dict[str, Callable[[Data, int], Any]] = {
    "input_shape": lambda data, seed: data.train[0].shape[1:],
    "outputs": lambda data, seed: data.outputs,
    "seed": lambda data, seed: seed,
    "rngs": lambda data, seed: nnx.Rngs(seed),
    "key": lambda data, seed: jax.random.key(seed),
}
"""The arguments that a user's function may name, and their values."""
LOSSES = {True: "softmax_cross_entropy_with_integer_labels", False: "squared_error"}
"""The loss of a classification, and that of a regression."""
DROPOUT = 0.2
LEAST_SIDE = 16
"""Smallest side of a picture that goes through convolutions."""


def make_objective(data: Data, model: str | None, loss: str | None, seed: int) -> Objective:
    """A model of the data with its loss; a classification has the accuracy as a metric.

    Args:
        data: the data, whose shapes the model fits.
        model: a user's function, ``"module:function"``; None for a network of fnopt.
        loss: name of a loss of optax; None for that of the task.
        seed: seed of the parameters.

    Raises:
        UsageError: the user's function cannot be found or called, or returns no model; optax has no
            loss of this name.
    """
    losses = [name for name in dir(optax.losses) if not name.startswith("_")]
    if loss is not None and loss not in losses:
        raise no_such("optax has no loss", loss, losses, "python -m pydoc optax.losses")
    state = None
    if model is None:
        made, inputs = default_model(data, seed)
    else:
        made, inputs = user_model(model, data, seed), pixels
        if isinstance(made, tuple) and len(made) == 2:
            made, state = made  # as equinox.nn.make_with_state returns them
    try:
        return objective(
            made,
            loss or LOSSES[data.classes is not None],
            metrics={} if data.classes is None else {"accuracy": accuracy},
            inputs=inputs,
            state=state,
        )
    except TypeError as error:
        if model is None:
            raise
        raise UsageError(
            f"--model {model} returned {_kind(made)}; it must return a Flax NNX, Linen or Equinox"
            " model"
        ) from error


def default_model(data: Data, seed: int) -> tuple[nnx.Module, Callable[[Batch], Any]]:
    """A network for the shape of the inputs, and what makes its inputs of a batch.

    Pictures, (height, width) or (height, width, channels), go through convolutions; all else
    through dense layers. A table that comes from a file is scaled to mean 0 and variance 1.
    """
    rngs, shape, outputs = nnx.Rngs(seed), data.train[0].shape[1:], data.outputs
    image = (*shape, 1) if len(shape) == 2 else shape
    if len(image) == 3 and min(image[:2]) >= LEAST_SIDE:
        model = ConvNet(image, (16, 32), 128, outputs, dropout=DROPOUT, rngs=rngs)
        return model, lambda batch: _numbers(batch).reshape(-1, *image)
    wide = len(data.train[0]) >= 1000
    model = MLP(math.prod(shape), (128, 128) if wide else (32,), outputs, DROPOUT, rngs=rngs)
    if data.train[0].dtype == np.uint8 or data.is_scaled:
        return model, _numbers
    x = data.train[0].astype(np.float32)
    mean, deviation = x.mean(axis=0), x.std(axis=0)
    deviation = np.where(deviation > 0, deviation, np.float32(1))
    return model, lambda batch: (_numbers(batch) - mean) / deviation


def _numbers(batch: Batch) -> jax.Array:
    """The inputs of a batch in float32, those of bytes in [0, 1]."""
    return pixels(batch).astype(jnp.float32)


def user_model(spec: str, data: Data, seed: int) -> Any:
    """What a user's function returns, called with those of ``ARGUMENTS`` that it names.

    Args:
        spec: ``"module:function"``, where the module may be the path of a ``.py`` file.
        data: the data, whose shapes the function may ask for.
        seed: seed of the parameters.

    Raises:
        UsageError: there is no such module or function, it needs other arguments, or it raised.
    """
    module_name, colon, name = spec.rpartition(":")
    if not (colon and module_name and name):
        raise UsageError(
            f"--model must be MODULE:FUNCTION, such as models:make or models.py:make, got {spec!r}"
        )
    module = _module(spec, module_name)
    function = getattr(module, name, None)
    if function is None:
        defined = [key for key, thing in vars(module).items() if _is_of(thing, module)]
        raise UsageError(f"{module_name} has no {name!r}; {did_you_mean(name, defined)}")
    if not callable(function):
        raise UsageError(
            f"--model {spec} is {_kind(function)}; it must be a function that returns a model"
        )
    parameters = inspect.signature(function).parameters.values()
    for parameter in parameters:
        needed = parameter.default is parameter.empty and parameter.kind not in (
            parameter.VAR_POSITIONAL,
            parameter.VAR_KEYWORD,
        )
        if needed and parameter.name not in ARGUMENTS:
            raise UsageError(
                f"--model {spec} takes {parameter.name!r}, which is none of"
                f" {', '.join(ARGUMENTS)}: give it a default"
            )
    named = {parameter.name for parameter in parameters} & set(ARGUMENTS)
    try:
        return function(**{argument: ARGUMENTS[argument](data, seed) for argument in named})
    except Exception as error:
        raise UsageError(f"--model {spec} raised {_raised(error)}") from error


def _module(spec: str, name: str) -> ModuleType:
    """The module of this name or path; the current folder is searched first."""
    try:
        if name.endswith(".py"):
            path = Path(name)
            if not path.is_file():
                raise UsageError(f"--model {spec}: there is no file {name}")
            return _executed(path.resolve(), path.stat().st_mtime_ns)
        sys.path.insert(0, str(Path.cwd()))
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name and (name == error.name or name.startswith(f"{error.name}.")):
            raise UsageError(
                f"--model {spec}: there is no module {error.name!r} here or among those installed"
            ) from None
        raise UsageError(f"--model {spec}: {name} raised {_raised(error)}") from error
    except Exception as error:
        if isinstance(error, UsageError):
            raise
        raise UsageError(f"--model {spec}: {name} raised {_raised(error)}") from error


@functools.cache
def _executed(path: Path, changed: int) -> ModuleType:
    """The module of a file, executed once, so that all seeds of a sweep have the same classes.

    Args:
        path: absolute path of the file.
        changed: when it was changed last.
    """
    found = importlib.util.spec_from_file_location(path.stem, path)
    assert found is not None and found.loader is not None
    module = importlib.util.module_from_spec(found)
    sys.modules.setdefault(path.stem, module)
    sys.path.insert(0, str(path.parent))
    found.loader.exec_module(module)
    return module


def _raised(error: Exception) -> str:
    """An error in a line, with the place in the user's code that it comes from."""
    if isinstance(error, SyntaxError):
        where = f"{error.filename}, line {error.lineno}"
        return f"SyntaxError: {error.msg} ({where})"
    frame = traceback.extract_tb(error.__traceback__)[-1]
    message = " ".join(str(error).split())
    return f"{type(error).__name__}: {message[:300]} ({frame.filename}, line {frame.lineno})"


def _is_of(thing: Any, module: ModuleType) -> bool:
    return callable(thing) and getattr(thing, "__module__", None) == module.__name__


def _kind(thing: Any) -> str:
    return "None" if thing is None else f"of type {type(thing).__name__}: {thing!r:.60}"
