"""The two sides of matrices: their statistics, and preconditioners that act on them."""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp

from fnopt.core.types import Arrays, Numeric
from fnopt.matrix.by_shape import by_shape
from fnopt.matrix.products import adjoint, gram


def right_gram(matrices: jax.Array) -> jax.Array:
    """:math:`G^* G`, the statistic of the columns; that of the rows is :func:`gram`."""
    return gram(adjoint(matrices))


def averages(
    side: Callable[[jax.Array], jax.Array], matrices: Arrays, old: Arrays, b2: Numeric
) -> Arrays:
    """The next averages of the statistics of one side, or sums for a decay of 1.

    Args:
        side: :func:`gram` or :func:`right_gram`.
        matrices: arrays of shape (number, rows, columns).
        old: the averages before; those of size 0 are not wanted, and stay.
        b2: the decay, a number in [0, 1].
    """
    share = jnp.where(b2 < 1, 1 - b2, 1.0)
    wanted = [i for i, x in enumerate(old) if x.size]
    averages = list(old)
    # The products are joined, the averages are not.
    for i, new in zip(wanted, by_shape(side, [matrices[i] for i in wanted]), strict=True):
        averages[i] = b2 * old[i] + share * new
    return averages


def preconditioned(matrices: Arrays, lefts: Arrays, rights: Arrays) -> Arrays:
    """Matrices multiplied by preconditioners at both sides; by none where they are of size 0."""

    def product(x: jax.Array, left: jax.Array, right: jax.Array) -> jax.Array:
        x = left @ x if left.size else x
        return x @ right if right.size else x

    return by_shape(product, matrices, lefts, rights)


def bounded(matrices: jax.Array) -> jax.Array:
    """Matrices scaled down where sums of their squares would be infinite, as far as they must be.

    That is where an element is beyond about 1e15 in float32.
    """
    most = 2.0 ** (int(jnp.finfo(matrices.dtype).maxexp) // 2 - 12)
    largest = jnp.max(jnp.abs(matrices), axis=(-2, -1), keepdims=True)
    return jax.lax.stop_gradient(jnp.minimum(most / largest, 1)) * matrices


def identities(like: jax.Array) -> jax.Array:
    """Identity matrices, as many and as large as the matrices of an array, which are 0."""
    return like + jnp.eye(like.shape[-1], dtype=like.dtype)[None]
