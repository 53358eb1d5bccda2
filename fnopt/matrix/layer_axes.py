"""The axes of a layer's product: which of its values are inputs, which outputs, which count."""

from __future__ import annotations

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp

from fnopt.layers import Layers
from fnopt.layers.dependence import Product

Axes = tuple[int, ...]


class ProductAxes(NamedTuple):
    """The axes of a product, each kind in one order for all three arrays.

    Attributes:
        stack: axes of the weights that count matrices, and of the other two the same.
        weight_in, weight_out: of the weights the axes that are summed over, and the rest.
        read_stack, read_in: of what the layer reads; along its other axes are the examples.
        out_stack, out: of its output; along its other axes are the examples.
    """

    stack: Axes
    weight_in: Axes
    weight_out: Axes
    read_stack: Axes
    read_in: Axes
    out_stack: Axes
    out: Axes


def dense_axes(layers: Layers, product: Product) -> ProductAxes:
    """The axes of a ``dot_general``."""
    step, shapes = product.step, layers.program.shapes
    contracted, batched = step.equation.params["dimension_numbers"]
    side = 0 if product.weights == step.inputs[0] else 1
    rank = len(shapes[product.weights].shape)
    own = (*contracted[side], *batched[side])
    rest = tuple(axis for axis in range(rank) if axis not in own)
    # A product has the shared axes first, then those of the left factor, then the right's.
    shared, end = len(batched[0]), len(shapes[step.outputs[0]].shape)
    first = shared if side == 0 else end - len(rest)
    return ProductAxes(
        stack=tuple(batched[side]),
        weight_in=tuple(contracted[side]),
        weight_out=rest,
        read_stack=tuple(batched[1 - side]),
        read_in=tuple(contracted[1 - side]),
        out_stack=tuple(range(shared)),
        out=tuple(range(first, first + len(rest))),
    )


def convolution_axes(product: Product) -> ProductAxes:
    """The axes of a ``conv_general_dilated``; what it reads is seen as :func:`patches`."""
    numbers = product.step.equation.params["dimension_numbers"]
    out, *inputs = numbers.rhs_spec
    return ProductAxes((), tuple(inputs), (out,), (), (-1,), (), (numbers.out_spec[1],))


def patches(product: Product, reads: jax.Array) -> jax.Array:
    """What each position of a convolution's output reads, as a row.

    Its elements are in the order of a kernel's: channels, then positions. Each group of channels
    has rows of its own.

    Args:
        product: the convolution.
        reads: the array that it reads.

    Returns:
        An array of shape (examples, positions, groups, elements).
    """
    params = product.step.equation.params
    numbers, groups = params["dimension_numbers"], params["feature_group_count"]
    kernel = product.program.shapes[product.weights].shape
    first = jnp.transpose(reads, numbers.lhs_spec)
    rows = jax.lax.conv_general_dilated_patches(
        first,
        [kernel[axis] for axis in numbers.rhs_spec[2:]],
        params["window_strides"],
        params["padding"],
        params["lhs_dilation"],
        params["rhs_dilation"],
        precision=jax.lax.Precision.HIGHEST,
    )
    by_group = rows.reshape(len(rows), groups, rows.shape[1] // groups, -1)
    return jnp.transpose(by_group, (0, 3, 1, 2))


def as_rows(x: jax.Array, stack: Axes, last: Axes) -> jax.Array:
    """An array of shape (number of matrices, rows, columns)."""
    stack, last = (tuple(axis % x.ndim for axis in axes) for axes in (stack, last))
    rest = tuple(axis for axis in range(x.ndim) if axis not in (*stack, *last))
    sizes = (math.prod(x.shape[axis] for axis in axes) for axes in (stack, rest, last))
    return jnp.transpose(x, (*stack, *rest, *last)).reshape(*sizes)
