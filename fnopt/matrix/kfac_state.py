"""The state of K-FAC, and its arrays by block."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from fnopt.core.checks import float_leaves, leaves_like, same_shape
from fnopt.core.moments import cast, computing_dtype
from fnopt.core.types import OptState, Params, PyTree
from fnopt.matrix.kfac_blocks import Block
from fnopt.matrix.spread import spread_like


class KFACState(NamedTuple):
    """The state of :class:`scale_by_kfac`.

    Attributes:
        count: number of updates so far.
        left, right: for each leaf of weights the mean factors of its rows and of its columns as it
            is seen, arrays of shape (number of matrices, size, size); of other leaves nothing.
        left_inverse, right_inverse: their damped inverses, or pairs of eigenvectors and
            eigenvalues.
    """

    count: jax.Array
    left: PyTree
    right: PyTree
    left_inverse: PyTree
    right_inverse: PyTree


class Factor(NamedTuple):
    """A factor of a block.

    Attributes:
        mean: its mean, an array of shape (number, size, size).
        inverse: arrays with as many matrices: its inverse, or eigenvectors and eigenvalues.
    """

    mean: jax.Array
    inverse: tuple[jax.Array, ...]


def init_state(blocks: Sequence[Block], params: Params, eigenbases: bool) -> KFACState:
    """The state before the first update.

    Args:
        blocks: the blocks of the parameters.
        params: the parameters.
        eigenbases: whether eigenvectors and eigenvalues are kept instead of inverses.
    """
    _, leaves, treedef = float_leaves("params", params)
    pairs = {}
    for block in blocks:
        param = leaves[block.weight]
        number, *sizes = block.sizes
        new = [_zeros(number, size, computing_dtype(param.dtype), eigenbases) for size in sizes]
        pairs[block.weight] = spread_like(param, new)
    return _state(jnp.zeros((), jnp.int32), pairs, treedef)


def _zeros(number: int, size: int, dtype: Any, eigenbases: bool) -> Factor:
    square = jnp.zeros((number, size, size), dtype)
    return Factor(square, (square, *([jnp.zeros((number, size), dtype)] * eigenbases)))


def factors_of(
    state: OptState, blocks: Sequence[Block], treedef: Any, dtype: Any
) -> list[list[Factor]]:
    """The left and the right factor of each block, in a dtype."""
    trees = [
        leaves_like(treedef, f"state.{name}", getattr(state, name), "updates")
        for name in KFACState._fields[1:]
    ]

    def wide(x: Any) -> jax.Array:
        return cast(jnp.asarray(x), dtype)

    found = []
    for block in blocks:
        left, right, *inverses = (tree[block.weight] for tree in trees)
        both = []
        for mean, inverse, size in zip((left, right), inverses, block.sizes[1:], strict=True):
            same_shape(
                f"state of {block.path}", jnp.shape(mean), (block.sizes[0], size, size), "parameter"
            )
            both.append(Factor(wide(mean), tuple(map(wide, jax.tree.leaves(inverse)))))
        found.append(both)
    return found


def with_factors(
    state: OptState, blocks: Sequence[Block], treedef: Any, factors: Sequence[Sequence[Factor]]
) -> KFACState:
    """The next state, its arrays in the dtypes of those before."""
    pairs = {block.weight: own for block, own in zip(blocks, factors, strict=True)}
    new = _state(optax.safe_increment(state.count), pairs, treedef)
    leaves, structure = jax.tree.flatten(new)
    # A host may give containers back as its own kinds; what is in them counts.
    old = zip(leaves, jax.tree.leaves(state), strict=True)
    return structure.unflatten(cast(x, jnp.asarray(before).dtype) for x, before in old)


def _state(count: Any, pairs: dict[int, Any], treedef: Any) -> KFACState:
    """The state of blocks by the numbers of their weights."""

    def tree(side: int, inverse: bool) -> PyTree:
        def slot(i: int) -> Any:
            if i not in pairs:
                return optax.MaskedNode()
            factor = pairs[i][side]
            if not inverse:
                return factor.mean
            return factor.inverse if len(factor.inverse) > 1 else factor.inverse[0]

        return treedef.unflatten([slot(i) for i in range(treedef.num_leaves)])

    return KFACState(count, tree(0, False), tree(1, False), tree(0, True), tree(1, True))
