"""The Kronecker factors of a Fisher matrix: second moments of inputs and of output gradients."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from fnopt.core.moments import cast
from fnopt.core.types import Arrays, Outputs, Params
from fnopt.layers import by_repetition
from fnopt.matrix.layer_axes import as_rows, patches
from fnopt.matrix.layer_uses import Use
from fnopt.matrix.traced_blocks import TracedBlocks

Roots = Callable[[Outputs], list[Arrays]]
"""A function of a model's outputs that returns columns of a root of the loss's curvature: each
entry has an array for each floating leaf, with the number of its columns in front."""


def kronecker_factors(
    traced: TracedBlocks, params: Params, data: Arrays, roots: Roots, dtype: Any
) -> tuple[Arrays, Arrays]:
    r"""The factors of each block, :math:`A = \operatorname{mean}\,a\,a^\top` and
    :math:`G = \sum g\,g^\top`.

    The mean is over all examples and positions at which a layer is used, the sum over the same and
    over the columns. The convolution paper has the sum of the first and the mean of the second over
    the positions, so that each factor differs by their number, and the product does not.

    Args:
        traced: a forward pass, and its layers.
        params, data: the parameters, and the other arrays that it needs.
        roots: the columns; :math:`g` is their product with the derivative of the outputs by the
            output of the layer.
        dtype: the dtype of the factors.

    Returns:
        Two lists of arrays, one for each block: of shape (number of matrices, inputs, inputs), with
        the 1 of a bias as the last input, and (number of matrices, outputs, outputs).
    """
    layers = traced.layers
    uses = [(i, k, use) for i, own in enumerate(traced.uses) for k, use in enumerate(own)]
    readers: dict[int, list[tuple[int, int, Use]]] = {}
    for key in uses:
        readers.setdefault(key[2].product.reads, []).append(key)

    def look(number: int) -> Callable[[jax.Array], Any]:
        def moments(reads: jax.Array) -> dict[str, jax.Array]:
            return {
                f"{i}, {k}": _mean(use, reads, traced.blocks[i].bias is not None, dtype)
                for i, k, use in readers[number]
            }

        return moments

    at = {number: look(number) for number in readers}
    zeros = [
        jnp.zeros(layers.shape(use.layer, use.output), layers.program.shapes[use.output].dtype)
        for _, _, use in uses
    ]

    def forward(zeros: Arrays) -> tuple[Arrays, Any]:
        add = {use.output: zero for (_, _, use), zero in zip(uses, zeros, strict=True)}
        outputs, recorded = layers.look(at, params, data, add=add)
        return floating(outputs), (outputs, recorded)

    _, pull_back, (outputs, recorded) = jax.vjp(forward, zeros, has_aux=True)

    def gradients(columns: Arrays) -> Arrays:
        """The sum over the rows of each use, for one column."""
        (pulled,) = pull_back(columns)
        return [_sum(use, g, dtype) for (_, _, use), g in zip(uses, pulled, strict=True)]

    totals: Arrays = [jnp.zeros((use.sizes[0], *(use.sizes[1],) * 2), dtype) for *_, use in uses]
    for columns in roots(jax.tree.unflatten(traced.structure, outputs)):
        totals = _total(gradients, totals, columns)

    inputs, sums = [], []
    for i, own in enumerate(traced.uses):
        means = [recorded[use.product.reads][f"{i}, {k}"] for k, use in enumerate(own)]
        rows = sum(use.rows for use in own)
        shares = [
            _by_matrix(use, mean) * (use.rows / rows) for use, mean in zip(own, means, strict=True)
        ]
        inputs.append(sum(shares[1:], start=shares[0]))
        own_totals = [total for (j, _, _), total in zip(uses, totals, strict=True) if j == i]
        sums.append(sum(own_totals[1:], start=own_totals[0]))
    return inputs, sums


def floating(leaves: Arrays) -> Arrays:
    """The leaves of which there is a derivative."""
    return [x for x in leaves if jnp.issubdtype(jnp.result_type(x), jnp.floating)]


def _total(gradients: Callable[[Arrays], Arrays], start: Arrays, columns: Arrays) -> Arrays:
    """The sum over columns, one after the other, so that one is in memory."""
    if len(columns[0]) == 1:
        new = gradients([column[0] for column in columns])
        return [a + b for a, b in zip(start, new, strict=True)]

    def add(total: Arrays, column: Arrays) -> tuple[Arrays, None]:
        return [a + b for a, b in zip(total, gradients(column), strict=True)], None

    return jax.lax.scan(add, start, columns)[0]


def _mean(use: Use, reads: jax.Array, bias: bool, dtype: Any) -> jax.Array:
    """The mean second moment of what a layer reads in one iteration of its loops."""
    seen = patches(use.product, reads) if use.layer.kind == "convolution" else reads
    rows = cast(as_rows(seen, use.axes.read_stack, use.axes.read_in), dtype)
    if bias:
        rows = jnp.concatenate([rows, jnp.ones((*rows.shape[:2], 1), dtype)], axis=2)
    return _product(rows) / rows.shape[1]


def _sum(use: Use, gradient: jax.Array, dtype: Any) -> jax.Array:
    """The second moment of the gradients at a layer's output, summed over all of its rows."""
    own = by_repetition(use.layer, gradient)
    before = own.ndim - gradient.ndim + len(use.layer.loops)
    stack, out = (
        tuple(axis + before for axis in own) for own in (use.axes.out_stack, use.axes.out)
    )
    rows = as_rows(own, (0, *stack), out)
    return _product(cast(rows, dtype))


def _by_matrix(use: Use, moments: jax.Array) -> jax.Array:
    """Moments with the iterations of the loops in front: the mean over those that share weights."""
    own = by_repetition(use.layer, moments)
    number, size = use.sizes[0], own.shape[-1]
    stack = number // use.layer.repetitions
    shared = own.reshape(use.layer.repetitions, -1, stack, size, size)
    return jnp.mean(shared, axis=1).reshape(number, size, size)


def _product(rows: jax.Array) -> jax.Array:
    return jnp.matmul(jnp.matrix_transpose(rows), rows, precision="highest")
