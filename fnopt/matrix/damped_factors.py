"""Damped inverses of Kronecker products, computed again every few updates, and their products."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

import jax
import jax.numpy as jnp

from fnopt.core.fields import Field
from fnopt.core.moments import root
from fnopt.core.types import Arrays, Numeric, PyTree
from fnopt.matrix.refresh import refreshed_by_shape

Solver = Annotated[Any, Field(static=True, choices=("cholesky", "eigh"))]
"""How factors are inverted, and with it how they are damped."""


def split_damping(a: jax.Array, g: jax.Array, damping: Numeric) -> tuple[jax.Array, jax.Array]:
    r"""The dampings of two factors, :math:`\pi\sqrt\lambda` and :math:`\sqrt\lambda / \pi`.

    Args:
        a, g: the factors, arrays of shape (number, size, size).
        damping: :math:`\lambda`, of their Kronecker product.

    Returns:
        Two arrays of shape (number,). :math:`\pi^2` is the quotient of the mean eigenvalues of
        both; 1 where one is 0.
    """
    means = [jnp.trace(x, axis1=-2, axis2=-1) / x.shape[-1] for x in (a, g)]
    known = (means[0] > 0) & (means[1] > 0)
    above, below = (jnp.where(known, mean, jnp.ones_like(mean)) for mean in means)
    ratio = jnp.sqrt(above) / jnp.sqrt(below)
    share = root(jnp.asarray(damping, ratio.dtype))
    return ratio * share, share / ratio


def inverse(matrix: jax.Array, damping: jax.Array, old: PyTree) -> tuple[jax.Array]:
    """The inverses of damped positive matrices, an array of shape (number, size, size)."""
    unit = jnp.eye(matrix.shape[-1], dtype=matrix.dtype)
    # So much more that rounding leaves the pivots above 0.
    least = jnp.finfo(matrix.dtype).eps * jnp.trace(matrix, axis1=-2, axis2=-1)
    diagonal = damping + least
    diagonal = jnp.where(diagonal > 0, diagonal, jnp.ones_like(diagonal))
    factor = jnp.linalg.cholesky(matrix + diagonal[:, None, None] * unit[None])
    half = jax.scipy.linalg.solve_triangular(
        factor, jnp.broadcast_to(unit, matrix.shape), lower=True
    )
    return (jnp.matmul(jnp.matrix_transpose(half), half, precision="highest"),)


def eigenbasis(matrix: jax.Array, damping: jax.Array, old: PyTree) -> tuple[jax.Array, jax.Array]:
    """The eigenvectors, in columns, and the eigenvalues of positive matrices."""
    values, vectors = jnp.linalg.eigh(matrix)
    return vectors, jnp.maximum(values, 0)


def refreshed_inverses(
    solver: str,
    factors: Arrays,
    dampings: Arrays,
    old: Sequence[tuple[jax.Array, ...]],
    t: Numeric,
    every: int,
) -> list[tuple[jax.Array, ...]]:
    """The inverses or eigenbases of factors, those of one size as one batch, which take turns.

    Args:
        solver: ``"cholesky"`` for inverses, ``"eigh"`` for eigenvectors and eigenvalues.
        factors: arrays of shape (number, size, size).
        dampings: arrays of shape (number,).
        old: the results before.
        t: the number of this update, 1 for the first.
        every: the number of updates from one computation to the next.
    """
    compute = inverse if solver == "cholesky" else eigenbasis
    return refreshed_by_shape(compute, old, (factors, dampings), t, every)


def preconditioned(gradients: jax.Array, parts: Sequence[jax.Array], damping: Numeric) -> jax.Array:
    r""":math:`G^{-1} M A^{-1}` for matrices :math:`M`, with results of :func:`refreshed_inverses`.

    With eigenbases the product of both factors is damped, :math:`(A \otimes G + \lambda I)^{-1}`.

    Args:
        gradients: :math:`M`, an array of shape (number, outputs, inputs).
        parts: the inverses of G and of A; or eigenvectors and eigenvalues of both.
        damping: :math:`\lambda`.
    """
    if len(parts) == 2:
        return _three(parts[0], gradients, parts[1])
    g_vectors, g_values, a_vectors, a_values = parts
    inner = _three(jnp.matrix_transpose(g_vectors), gradients, a_vectors)
    values = g_values[:, :, None] * a_values[:, None, :]
    least = jnp.finfo(values.dtype).eps * jnp.max(values, axis=(1, 2), keepdims=True)
    values = values + jnp.asarray(damping, values.dtype) + least
    inner = inner / jnp.where(values > 0, values, jnp.ones_like(values))
    return _three(g_vectors, inner, jnp.matrix_transpose(a_vectors))


def _three(left: jax.Array, middle: jax.Array, right: jax.Array) -> jax.Array:
    inner = jnp.matmul(left, middle, precision="highest")
    return jnp.matmul(inner, right, precision="highest")
