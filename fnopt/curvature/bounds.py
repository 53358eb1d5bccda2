"""A box: bounds on parameters, the projection on it and the gradient that is left in it."""

from __future__ import annotations

import dataclasses
from typing import Annotated, Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from fnopt.core import computing_dtype
from fnopt.core.checks import Interval, brief, float_leaves, leaves_like
from fnopt.core.fields import Field
from fnopt.core.moments import cast
from fnopt.core.types import Arrays, Params, PyTree, Updates


@dataclasses.dataclass(frozen=True)
class _Bounds(Field):
    """A number, or a tree of numbers and arrays, of which each leaf may be None."""

    kind = "PyTree"

    def accept(self, argument: str, value: Any, default: Any) -> Any:
        def number(path: Any, leaf: Any) -> Any:
            return self.accept_number(argument + jax.tree_util.keystr(path), leaf, None)

        return jax.tree_util.tree_map_with_path(number, value)


Bounds = Annotated[Any, _Bounds(Interval("[-inf, inf]"))]
"""Bounds on parameters: a number for all, or a tree like them; infinite or None for no bound."""


Box = tuple[list[jax.Array], list[jax.Array]]
"""The lower and the upper bounds, one array for each leaf."""


def box_of(name: str, lower: PyTree, upper: PyTree, params: Params) -> Box:
    """The lower and the upper bounds of each leaf, arrays like it.

    Args:
        name: the function or transform that has the bounds, for errors.
        lower: smallest values: a number for all parameters, or a tree like them; no bound where it
            is None or -inf.
        upper: largest values, likewise.
        params: the parameters.

    Raises:
        TypeError: a parameter is complex, and has no order.
        ValueError: a lower bound is above the upper one, or a bound is not like its parameter.
    """
    paths, leaves, treedef = float_leaves("params", params)
    if any(jnp.iscomplexobj(leaf) for leaf in leaves):
        raise TypeError(
            f"{name}: complex parameters have no bounds; bound their parts with"
            " fnopt.split_real_and_imaginary"
        )

    def each(what: str, bounds: PyTree) -> list[Any]:
        if jax.tree.structure(bounds) == jax.tree.structure(0) and jnp.ndim(bounds) == 0:
            return [bounds] * len(leaves)
        if bounds is None:
            return [None] * len(leaves)
        return leaves_like(treedef, f"{name}: {what}", bounds, "params")

    boxes: Box = ([], [])
    lows, highs = each("lower", lower), each("upper", upper)
    for path, leaf, low, high in zip(paths, leaves, lows, highs, strict=True):
        low, high = -jnp.inf if low is None else low, jnp.inf if high is None else high
        for what, bound in (("lower", low), ("upper", high)):
            if not isinstance(bound, Tracer) and np.any(np.isnan(np.asarray(bound))):
                raise ValueError(
                    f"{name}: the {what} bound of {path} is NaN, {brief(bound, 30)}; None or an"
                    " infinite number is no bound"
                )
            shape = np.shape(bound)
            sizes = zip(reversed(shape), reversed(leaf.shape), strict=False)
            if len(shape) > leaf.ndim or any(size not in (1, whole) for size, whole in sizes):
                raise ValueError(
                    f"{name}: the {what} bound of {path} has shape {shape}; expected that of the"
                    f" parameter, {leaf.shape}, or a number"
                )
        if not isinstance(low, Tracer) and not isinstance(high, Tracer):
            if np.any(np.asarray(low) > np.asarray(high)):
                raise ValueError(
                    f"{name}: the lower bound of {path} is above the upper one: {brief(low, 30)} >"
                    f" {brief(high, 30)}; exchange them, or make them equal to fix a parameter"
                )
        for box, bound in zip(boxes, (low, high), strict=True):
            # The nearest numbers that a parameter can be, so that rounding does not cross them.
            bound = jnp.broadcast_to(cast(jnp.asarray(bound), leaf.dtype), leaf.shape)
            box.append(cast(bound, computing_dtype(leaf.dtype)))
    return boxes


def moves_within(params: Arrays, steps: Arrays, like: Arrays, box: Box) -> Arrays:
    """Steps from parameters into a box as updates that end in it after all rounding.

    Args:
        params: the parameters.
        steps: the steps, in single precision at least.
        like: the updates whose dtypes the result has.
        box: the bounds, as :func:`box_of` gives them.
    """

    def move(param: jax.Array, step: jax.Array, like: jax.Array, low: Any, high: Any) -> jax.Array:
        step = cast(step, like.dtype)
        with jax.numpy_dtype_promotion("standard"):  # as an update is applied
            reached = cast(cast(param + step, param.dtype), low.dtype)
        up, down = (jnp.nextafter(step, jnp.full_like(step, x)) for x in (jnp.inf, -jnp.inf))
        return jnp.where(reached < low, up, jnp.where(reached > high, down, step))

    return [move(*each) for each in zip(params, steps, like, *box, strict=True)]


def projected_gradient(
    params: Params, grads: Updates, lower: PyTree = None, upper: PyTree = None
) -> Updates:
    r"""The gradient without what the bounds forbid: :math:`x - P(x - g)`, P the projection.

    It is 0 where the parameters are stationary in the box, and the gradient itself where no bound
    is near. Its largest magnitude is what L-BFGS-B's stopping test is about (``pgtol``).

    Args:
        params: the parameters x, in the box.
        grads: the gradient g there, a tree like the parameters.
        lower: smallest values: a number for all parameters, or a tree like them; no bound where it
            is None or -inf.
        upper: largest values, likewise, with inf.

    Returns:
        A tree like the gradient.

    Raises:
        TypeError: a parameter is complex.
        ValueError: a lower bound is above the upper one, or bounds are not like the parameters.

    >>> import jax.numpy as jnp
    >>> from fnopt import curvature
    >>> x, grad = jnp.array([0.0, 0.5, 1.0]), jnp.array([2.0, 2.0, 2.0])
    >>> curvature.projected_gradient(x, grad, lower=0.0)
    Array([0. , 0.5, 1. ], dtype=float32)
    """
    lows, highs = box_of("projected_gradient", lower, upper, params)
    _, leaves, treedef = float_leaves("params", params)
    gradients = leaves_like(treedef, "grads", grads, "params")

    def left(x: jax.Array, g: Any, low: jax.Array, high: jax.Array) -> jax.Array:
        g = jnp.asarray(g)
        x, slope = cast(x, low.dtype), cast(g, low.dtype)
        # Not x - P(x - g), which loses the digits of a gradient much smaller than x.
        inside = jnp.where(slope < 0, jnp.maximum(x - high, slope), jnp.minimum(x - low, slope))
        return cast(inside, g.dtype)

    return treedef.unflatten(
        [left(*leaf) for leaf in zip(leaves, gradients, lows, highs, strict=True)]
    )
