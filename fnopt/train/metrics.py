"""Metrics: the accuracy, the better direction of a metric, and a check of its result."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Hashable
from typing import Any, Literal, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
import optax

from fnopt.core.types import Outputs

Shape = tuple[int, ...]
Function = TypeVar("Function", bound=Callable[..., Any])


def maximized(metric: Function) -> Function:
    """The metric, marked as one that is better when it is larger; also a decorator.

    ``fit(monitor=…)`` reads the mark, for early stopping and the best checkpoint.

    Args:
        metric: ``metric(outputs, targets)``, a number for each example.

    >>> from fnopt.train import maximized
    >>> @maximized
    ... def margin(outputs, labels):
    ...     return outputs * labels
    """
    return _marked(metric, "max")


def minimized(metric: Function) -> Function:
    """The metric, marked as one that is better when it is smaller; see :func:`maximized`.

    Args:
        metric: ``metric(outputs, targets)``, a number for each example.
    """
    return _marked(metric, "min")


def _marked(metric: Any, mode: str) -> Any:
    @functools.wraps(metric)
    def marked(*args: Any, **kwargs: Any) -> Any:
        return metric(*args, **kwargs)

    vars(marked)["mode"] = mode
    return marked


def mode_of(metric: Any) -> Literal["min", "max"] | None:
    """Whether a smaller or a larger metric is better; None if it is not marked."""
    if isinstance(metric, functools.partial):
        return mode_of(metric.func)
    mode = getattr(metric, "mode", None)
    return mode if mode in ("min", "max") else None


@maximized
def accuracy(outputs: jax.Array, labels: jax.Array) -> jax.Array:
    """1 for each example whose largest output is its label's, 0 for each other.

    Args:
        outputs: a number for each class, of shape (…, classes).
        labels: the classes, integers of shape (…).

    Raises:
        ValueError: labels have another shape, such as (…, 1) or that of one-hot labels.
    """
    if jnp.shape(labels) != jnp.shape(outputs)[:-1]:
        raise ValueError(
            f"accuracy: labels must have shape {jnp.shape(outputs)[:-1]}, one class for each"
            f" example of outputs of shape {jnp.shape(outputs)}; they have {jnp.shape(labels)}."
            f" {_cure(jnp.shape(labels), jnp.shape(outputs))}"
        )
    return (jnp.argmax(outputs, axis=-1) == labels).astype(jnp.float32)


def _cure(labels: tuple[int, ...], outputs: tuple[int, ...]) -> str:
    if labels == (*outputs[:-1], 1):
        return "Take labels[..., 0]"
    if labels == outputs:
        return "Of one-hot labels take jnp.argmax(labels, axis=-1)"
    if labels == outputs[:1]:
        return "The model's outputs have too many axes: flatten its inputs, x.reshape(len(x), -1)"
    return "Give labels of that shape"


def called(name: str, function: Callable[..., Any], outputs: Outputs, targets: Any) -> Any:
    """The result of a loss or metric, unless it mixes pairs of examples.

    Where outputs of shape (n, 1) meet targets of shape (n,), or the other way round, NumPy's rules
    give n × n numbers, or sums over such.

    Args:
        name: the name of the metric, for the message.
        function: the loss or the metric.
        outputs: the model's outputs; checked if they are one array.
        targets: the targets of the batch; checked if they are one array.

    Raises:
        ValueError: outputs and targets do not belong together.
    """
    arrays = all(hasattr(x, "shape") and x.ndim > 0 for x in (outputs, targets))
    if arrays:
        _check_optax(name, function, outputs.shape, targets)
    result = function(outputs, targets)
    value: Any = result[0] if isinstance(result, tuple) and result else result
    if arrays and hasattr(value, "shape"):
        _check_metric(name, value.shape, outputs.shape, targets.shape)
    _check_numbers(name, value)
    return result


def takes_classes(function: Any) -> bool:
    """Whether a loss or metric takes integer labels, each the number of an output."""
    kind = _OPTAX.get(function, "") if isinstance(function, Hashable) else ""
    return function is accuracy or "integer_labels" in kind or kind in _OF_CLASSES


def _check_optax(name: str, function: Any, outputs: Shape, targets: Any) -> None:
    """Refuses what one of optax's losses would broadcast, or refuse from inside."""
    kind = _OPTAX.get(function) if isinstance(function, Hashable) else None
    if kind is None or kind in _OF_EMBEDDINGS:
        return
    labels = targets.shape
    if takes_classes(function):
        if labels != outputs[:-1]:
            raise ValueError(
                f"objective: the {name}, {kind}, needs labels of shape {outputs[:-1]} for outputs"
                f" of shape {outputs}; they have {labels}. {_cure(labels, outputs)}"
            )
        if not jnp.issubdtype(targets.dtype, jnp.integer):
            raise TypeError(
                f"objective: the {name}, {kind}, needs integer labels, each the number of an"
                f" output; they are {targets.dtype}. Convert them, labels.astype('int32')"
            )
    elif kind in _OF_DISTRIBUTIONS and labels == outputs[:-1]:
        raise ValueError(
            f"objective: the {name}, {kind}, needs a probability for each class, of shape"
            f" {outputs}; the labels have {labels}. For integer labels take"
            " softmax_cross_entropy_with_integer_labels, or jax.nn.one_hot(labels, classes)"
        )
    elif len(labels) != len(outputs):
        _refuse_pair(f"{name}, {kind},", outputs, labels)


def _check_numbers(name: str, value: Any) -> None:
    """Refuses a result that is no number or array of numbers, or a loss without a gradient."""
    if hasattr(value, "dtype") or isinstance(value, (bool, int, float)):
        if name == "loss" and not jnp.issubdtype(jnp.result_type(value), jnp.inexact):
            raise TypeError(
                f"objective: the {name} is {jnp.result_type(value)}, which has no gradient; return"
                " floating-point numbers, and give what counts in metrics=[…]"
            )
        return
    what = "None" if value is None else f"a {type(value).__name__}"
    cure = "; is there no return?" if value is None else ""
    raise TypeError(f"objective: the {name} returned {what}, not one number for each example{cure}")


def _check_metric(name: str, shape: Shape, outputs: Shape, targets: Shape) -> None:
    if len(shape) < 2:
        return
    if len(outputs) != len(targets) and shape == _broadcast(outputs, targets):
        _refuse_pair(name, outputs, targets, shape)
    # A metric may have reduced the outputs before: (n, classes) to (n,), which then met (n, 1).
    column = shape[0], 1
    if shape[0] == shape[1] and column in (outputs, targets):
        other = targets if outputs == column else outputs
        if other[:2] != shape[:2]:
            _refuse_pair(name, outputs, targets, shape)


def _refuse_pair(name: str, outputs: Shape, targets: Shape, shape: Shape | None = None) -> None:
    has = "" if shape is None else f" has shape {shape}: it"
    raise ValueError(
        f"objective: the {name} of outputs of shape {outputs} and targets of shape {targets}{has}"
        " would compare every example with every other; give both one shape, by outputs[..., 0],"
        " targets[..., 0] or targets[..., None]"
    )


def _broadcast(a: Shape, b: Shape) -> Shape | None:
    try:
        return np.broadcast_shapes(a, b)
    except ValueError:
        return None


_OPTAX: dict[Any, str] = {
    function: name
    for name in dir(optax.losses)
    if inspect.isfunction(function := getattr(optax.losses, name))
}
_OF_CLASSES = "multiclass_hinge_loss", "multiclass_perceptron_loss", "multiclass_sparsemax_loss"
_OF_DISTRIBUTIONS = "softmax_cross_entropy", "safe_softmax_cross_entropy", "poly_loss_cross_entropy"
_OF_EMBEDDINGS = ("ntxent", "triplet_margin_loss")
"""Losses of optax in which examples meet each other on purpose."""
