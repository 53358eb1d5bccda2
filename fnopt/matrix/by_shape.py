"""One computation on all matrices of one shape, from whichever leaves they are."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp


def by_shape(function: Callable[..., Any], *lists: Sequence[jax.Array]) -> list[Any]:
    """A function of batches of matrices, called once for each shape.

    Args:
        function: takes an array of each list, with the number of matrices as their first axis,
            and returns arrays, or a tree of them, with the same first axis.
        *lists: arrays whose first axis is a number of matrices, the same within one position of all
            lists. Positions whose arrays have the same other axes and dtypes are joined.

    Returns:
        For each position what the function returns for it.
    """
    positions = list(zip(*lists, strict=True))
    batches: dict[Any, list[int]] = {}
    for i, arrays in enumerate(positions):
        key = tuple((x.shape[1:], x.dtype) for x in arrays)
        batches.setdefault(key, []).append(i)
    results: list[Any] = [None] * len(positions)
    for members in batches.values():
        counts = [positions[i][0].shape[0] for i in members]
        joined = [_joined([positions[i][k] for i in members]) for k in range(len(lists))]
        for i, own in zip(members, _parts(function(*joined), counts), strict=True):
            results[i] = own
    return results


def wide(function: Callable[..., Any], matrices: Sequence[jax.Array]) -> list[Any]:
    """:func:`by_shape` for a function of one batch that may be of transposed matrices.

    Args:
        function: takes matrices that have at most as many rows as columns, and returns such
            matrices or a tree of them; the result for a transposed matrix must be the transpose of
            the result.
        matrices: arrays of shape (number, rows, columns).
    """
    tall = [x.shape[-2] > x.shape[-1] for x in matrices]
    results = by_shape(function, [_turned(x, t) for x, t in zip(matrices, tall, strict=True)])
    return [
        jax.tree.map(lambda own, t=t: _turned(own, t), x)
        for x, t in zip(results, tall, strict=True)
    ]


def _turned(x: jax.Array, turn: bool) -> jax.Array:
    return jnp.matrix_transpose(x) if turn else x


CHUNK = 16
"""Arrays that are concatenated at once; XLA takes long to compile a concatenation of many."""


def _joined(xs: list[jax.Array]) -> jax.Array:
    while len(xs) > CHUNK:
        chunks = (xs[i : i + CHUNK] for i in range(0, len(xs), CHUNK))
        xs = [jax.lax.optimization_barrier(jnp.concatenate(chunk)) for chunk in chunks]
    return xs[0] if len(xs) == 1 else jnp.concatenate(xs)


def _parts(tree: Any, counts: list[int]) -> list[Any]:
    """The parts of a tree of arrays along their first axis."""
    if len(counts) == 1:
        return [tree]
    leaves, structure = jax.tree.flatten(tree)
    parts = [jax.lax.split(leaf, counts, axis=0) for leaf in leaves]
    return [structure.unflatten(own) for own in zip(*parts, strict=True)]
