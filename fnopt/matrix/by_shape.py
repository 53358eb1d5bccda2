"""One computation on all matrices of one shape, from whichever leaves they are."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from fnopt.core.in_turn import after


def by_shape(
    function: Callable[..., Any], *lists: Sequence[jax.Array], in_turn: bool = False
) -> list[Any]:
    """A function of batches of matrices, called once for each shape.

    Args:
        function: takes an array of each list, with the number of matrices as their first axis,
            and returns arrays, or a tree of them, with the same first axis.
        *lists: arrays whose first axis is a number of matrices, the same within one position of all
            lists. Positions whose arrays have the same other axes and dtypes are joined.
        in_turn: whether the program computes one shape after another, as it must where the
            function has a decomposition; see ``fnopt.core.in_turn.after``.

    Returns:
        For each position what the function returns for it.
    """
    batches, parts = joined(*lists)
    results: list[Any] = []
    for batch in batches:
        results.append(function(*(after(results[-1:], batch) if in_turn else batch)))
    return parts(results)


def joined(
    *lists: Sequence[jax.Array],
) -> tuple[list[tuple[jax.Array, ...]], Callable[[list[Any]], list[Any]]]:
    """What :func:`by_shape` calls its function with, for a computation in several steps.

    Args:
        *lists: as of :func:`by_shape`.

    Returns:
        For each shape a tuple of the joined arrays, one of each list; and a function of a list of
        results, one for each shape, that returns one for each position.
    """
    positions = list(zip(*lists, strict=True))
    members: dict[Any, list[int]] = {}
    for i, arrays in enumerate(positions):
        key = tuple((x.shape[1:], x.dtype) for x in arrays)
        members.setdefault(key, []).append(i)
    batches = [
        tuple(_joined([positions[i][k] for i in own]) for k in range(len(lists)))
        for own in members.values()
    ]

    def parts(results: list[Any]) -> list[Any]:
        found: list[Any] = [None] * len(positions)
        for own, result in zip(members.values(), results, strict=True):
            counts = [positions[i][0].shape[0] for i in own]
            for i, part in zip(own, _parts(result, counts), strict=True):
                found[i] = part
        return found

    return batches, parts


def wide(
    function: Callable[..., Any], matrices: Sequence[jax.Array], in_turn: bool = False
) -> list[Any]:
    """:func:`by_shape` for a function of one batch that may be of transposed matrices.

    Args:
        function: takes matrices that have at most as many rows as columns, and returns such
            matrices or a tree of them; the result for a transposed matrix must be the transpose of
            the result.
        matrices: arrays of shape (number, rows, columns).
        in_turn: as of :func:`by_shape`.
    """
    tall = [x.shape[-2] > x.shape[-1] for x in matrices]
    turned = [_turned(x, t) for x, t in zip(matrices, tall, strict=True)]
    results = by_shape(function, turned, in_turn=in_turn)
    return [
        jax.tree.map(lambda own, t=t: _turned(own, t), x)
        for x, t in zip(results, tall, strict=True)
    ]


def _turned(x: jax.Array, turn: bool) -> jax.Array:
    return jnp.matrix_transpose(x) if turn else x


def _joined(xs: list[jax.Array]) -> jax.Array:
    return xs[0] if len(xs) == 1 else jnp.concatenate(xs)


def _parts(tree: Any, counts: list[int]) -> list[Any]:
    """The parts of a tree of arrays along their first axis."""
    if len(counts) == 1:
        return [tree]
    leaves, structure = jax.tree.flatten(tree)
    starts = list(itertools.accumulate(counts[:-1], initial=0))

    def cut(*leaves: jax.Array) -> list[list[jax.Array]]:
        return [list(jax.lax.split(leaf, counts, axis=0)) for leaf in leaves]

    def cut_anywhere(*leaves: jax.Array) -> list[list[jax.Array]]:
        places = list(zip(_unknown(starts), counts, strict=True))
        return [
            [jax.lax.dynamic_slice_in_dim(leaf, start, count) for start, count in places]
            for leaf in leaves
        ]

    parts = jax.lax.platform_dependent(*leaves, cpu=cut_anywhere, default=cut)
    return [structure.unflatten(own) for own in zip(*parts, strict=True)]


def _unknown(numbers: list[int]) -> list[jax.Array]:
    """Integers that XLA cannot take for constants, each in a buffer of its own.

    It compiles a kernel for every place that an array is cut at, if it knows the place, and one for
    all if it does not: of 48 matrices that is most of the time. A sort of several arrays is neither
    computed while compiling nor merged with what follows.
    """
    pairs = [jnp.asarray(np.full(2, number, np.int32)) for number in numbers]
    return [pair[0] for pair in jax.lax.sort(tuple(pairs), num_keys=1)]
