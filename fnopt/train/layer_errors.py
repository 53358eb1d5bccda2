"""Errors of a model's layers: which layer received what, and what it needs."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator
from types import FrameType
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import errors, linen, nnx

from fnopt.core.types import Params, PyTree
from fnopt.train.about import by_path
from fnopt.train.kinds import is_equinox, is_model

_LIBRARIES = "jax", "flax", "equinox", "numpy", "contextlib", "functools", "fnopt"
_SHAPES = TypeError, ValueError, errors.ScopeParamShapeError
"""What a layer raises for inputs of another shape."""
_OTHER_VARIABLES = errors.ScopeParamNotFoundError, errors.ApplyScopeInvalidVariablesTypeError
"""What Linen raises for variables of another module."""


@contextlib.contextmanager
def explained(model: Any, inputs: PyTree) -> Iterator[None]:
    """Says in an error which layer of the model received inputs that it cannot take.

    An error from inside of a layer of Flax or Equinox becomes a ValueError; any other, such as one
    of the user's own code, gets a note with the shapes of the model's inputs.

    Args:
        model: the model whose forward pass is in this context.
        inputs: its inputs.
    """
    try:
        yield
    except Exception as error:
        layer = _innermost(error, model)
        if layer is not None and isinstance(error, _SHAPES):
            raise ValueError(_message(layer, inputs, error)) from None
        if isinstance(error, _OTHER_VARIABLES):
            raise ValueError(
                "objective: the state has parameters of another model; make one for this objective,"
                f" TrainState.create(objective, tx, key, batch) ({_first_line(error)})"
            ) from None
        missing = _stream(error)
        if missing:
            raise ValueError(
                f"objective: the module draws from a random stream {missing!r}; name it,"
                f" objective(…, rngs=('dropout', {missing!r})). In evaluation there are none"
            ) from None
        called = "" if is_model(model) else ", a function called with (params, inputs)"
        error.add_note(f"This was in the model{called}, which received {_shapes(inputs)}.")
        raise


class _Layer(NamedTuple):
    """A layer in which an error was raised."""

    path: str
    kind: str
    kernel: Any  # the shape of its kernel, None without one
    features: int | None  # number of features or channels that its inputs must have
    channels_last: bool
    inputs: Any


def _innermost(error: Exception, model: Any) -> _Layer | None:
    """The layer of a library in which an error was raised; None if it was in other code."""
    trace, frames = error.__traceback__, []
    while trace is not None:
        frames.append(trace.tb_frame)
        trace = trace.tb_next
    for frame in reversed(frames):
        if frame.f_globals.get("__name__", "").partition(".")[0] not in _LIBRARIES:
            return None
        module, inputs = _called(frame)
        if module is not None and type(module).__module__.partition(".")[0] in _LIBRARIES:
            shape, features = _kernel(module)
            return _Layer(
                _path(module, model), type(module).__name__, shape, features,
                not is_equinox(module), inputs,
            )  # fmt: skip
    return None


def _called(frame: FrameType) -> tuple[Any, Any]:
    """The module whose call a frame is, and its inputs; None for another frame."""
    module = frame.f_locals.get("self")
    if not (isinstance(module, (nnx.Module, linen.Module)) or is_equinox(module)):
        return None, None
    names = frame.f_code.co_varnames[1:2]
    inputs = frame.f_locals.get(names[0]) if names else None
    return (module, inputs) if hasattr(inputs, "shape") else (None, None)


def _kernel(module: Any) -> tuple[Any, int | None]:
    """The shape of a layer's kernel, and how many features its inputs must have."""
    if is_equinox(module):
        shape = getattr(getattr(module, "weight", None), "shape", ())
        return (shape, shape[1]) if len(shape) > 1 else (None, None)
    if isinstance(module, linen.Module):
        kernel = module.variables.get("params", {}).get("kernel")
    else:
        kernel = getattr(module, "kernel", None)
    shape = () if kernel is None else jnp.shape(jax.tree.leaves(kernel)[0])
    return (shape, shape[-2]) if len(shape) > 1 else (None, None)


def _path(module: Any, model: Any) -> str:
    """The path of a layer in the model, with dots."""
    if isinstance(module, linen.Module):
        return ".".join(module.path)
    if isinstance(module, nnx.Module):
        paths = (path for path, node in nnx.iter_graph(model) if node is module)
        return ".".join(map(str, next(paths, ())))
    leaves = jax.tree_util.tree_leaves_with_path(model, is_leaf=lambda x: x is module)
    paths = (path for path, leaf in leaves if leaf is module)
    return jax.tree_util.keystr(next(paths, ()), simple=True, separator=".")


def _message(layer: _Layer, inputs: PyTree, error: Exception) -> str:
    kernel = f" with a kernel of shape {layer.kernel}" if layer.kernel else ""
    name = f"layer {layer.path} ({layer.kind}{kernel})" if layer.path else f"{layer.kind}{kernel}"
    shape = tuple(layer.inputs.shape)
    cure = _cure(layer, shape, inputs) or _first_line(error)
    model = _shapes(inputs).removeprefix("inputs of ")
    of_model = "" if model == f"shape {shape}" else f" The inputs of the model have {model}."
    return (
        f"objective: the model's {name} received inputs of shape {shape}, which it cannot take:"
        f" {cure}.{of_model}"
    )


def _cure(layer: _Layer, shape: tuple[int, ...], inputs: PyTree) -> str:
    """What the layer needs, by the shape of its kernel; empty where that is not the matter."""
    if layer.features is None:
        return ""
    count, convolves = layer.features, len(layer.kernel) > 2
    what = f"{count} {'channel' if convolves else 'feature'}{'s' * (count != 1)}"
    of_model = jnp.shape(inputs) if hasattr(inputs, "shape") else ()
    if convolves and layer.channels_last and len(of_model) == len(layer.kernel) - 1:
        return f"it needs {what} along a last axis, such as images[..., None]"
    if convolves and len(shape) < len(layer.kernel) - 1:
        return f"it needs {what} along a first axis, such as image[None]"
    axis = 0 if convolves and not layer.channels_last else -1
    if shape and shape[axis] == count:
        return ""
    cure = f"it needs {what} along the {'first' if axis == 0 else 'last'} axis"
    if not convolves and len(of_model) > 2 and math.prod(of_model[1:]) == count:
        cure += "; flatten the inputs, x.reshape(len(x), -1)"
    return cure


def _first_line(error: Exception) -> str:
    """What an error says, without the address of a page that Flax adds."""
    return f"{error}".partition("\n")[0].partition(" (https:")[0].rstrip(".")


def check_params(params: Params, own: Params) -> None:
    """Refuses parameters of another model, by their paths.

    Args:
        params: the parameters of a state.
        own: those of the model at the start.

    Raises:
        ValueError: they are of another model.
    """
    theirs, ours = by_path(params), by_path(own)
    if theirs.keys() == ours.keys():
        return
    only = [f"only the model has {path}" for path in ours if path not in theirs][:1]
    only += [f"only the state has {path}" for path in theirs if path not in ours][:1]
    raise ValueError(
        f"objective: the state has parameters of another model ({', '.join(only)}); make one for"
        " this objective, TrainState.create(objective, tx, key)"
    )


def _shapes(inputs: PyTree) -> str:
    if hasattr(inputs, "shape"):
        return f"inputs of shape {tuple(inputs.shape)}"
    shapes = [str(tuple(jnp.shape(x))) for x in jax.tree.leaves(inputs)]
    return f"inputs of shapes {', '.join(shapes[:4])}{', …' * (len(shapes) > 4)}"


def _stream(error: Exception) -> str | None:
    """The random stream that a Linen module lacks, if the error says that it lacks one."""
    if not isinstance(error, errors.InvalidRngError):
        return None
    return f"{error}".partition('"')[2].partition('"')[0]
