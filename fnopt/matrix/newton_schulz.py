"""The Newton-Schulz iteration: the orthogonal factors of matrices, by products alone."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp

from fnopt.core.moments import abs_sq, cast, computing_dtype
from fnopt.core.types import Arrays, Numeric
from fnopt.matrix.by_shape import wide


def orthogonalize(
    matrices: Sequence[jax.Array], coefficients: Any, eps: Numeric, dtype: Any = None
) -> Arrays:
    """Each of many matrices with its singular values driven towards 1, those of one shape at once.

    Args:
        matrices: arrays of shape (number, rows, columns).
        coefficients, eps, dtype: as of :func:`newton_schulz`.
    """
    own = functools.partial(newton_schulz, coefficients=coefficients, eps=eps, dtype=dtype)
    return wide(own, matrices)


def newton_schulz(
    matrices: jax.Array, coefficients: Any, eps: Numeric, dtype: Any = None
) -> jax.Array:
    r"""Matrices with their singular values driven towards 1.

    .. math:: X_0 = \frac{M}{\max(\lVert M \rVert_F, \epsilon)}, \qquad
        X_{k+1} = a_k\,X_k + \bigl(b_k\,A_k + c_k\,A_k^2\bigr) X_k, \qquad A_k = X_k X_k^T

    Args:
        matrices: :math:`M`, an array of shape (…, rows, columns) with at most as many rows as
            columns; the products are as large as the rows.
        coefficients: a row of three numbers :math:`a_k, b_k, c_k` for each iteration.
        eps: smallest norm that is divided by, a number at least 0.
        dtype: dtype of the iteration; the matrices' if None. Sums are in float32 at least.

    References:
        Higham, *Functions of matrices*, 2008, Section 8.3; Jordan et al., *Muon*, 2024, for the
        polynomial of degree 5.
    """
    narrow = jnp.dtype(dtype or matrices.dtype)
    if jnp.issubdtype(matrices.dtype, jnp.complexfloating):
        narrow = matrices.dtype  # there is no narrow complex dtype
    wide = computing_dtype(narrow)
    real = jnp.finfo(wide).dtype

    def product(x: jax.Array, y: jax.Array) -> jax.Array:
        return jnp.matmul(x, y, preferred_element_type=wide)

    x = cast(matrices, narrow)
    squares = jnp.sum(abs_sq(cast(x, wide)), axis=(-2, -1), keepdims=True)
    size = jnp.maximum(jnp.sqrt(squares), jnp.asarray(eps).astype(real))
    narrow_real = jnp.finfo(narrow).dtype
    x = cast(cast(x, wide) / cast(cast(size, narrow_real), wide), narrow)

    def iterate(x: jax.Array, numbers: jax.Array) -> tuple[jax.Array, None]:
        a, b, c = numbers
        # Sums are wide, and each is rounded once.
        gram = cast(product(x, jnp.matrix_transpose(x).conj()), narrow)
        polynomial = cast(b * cast(gram, wide) + c * product(gram, gram), narrow)
        return cast(a * cast(x, wide) + product(polynomial, x), narrow), None

    # A loop, so that the program has the products once and their temporaries too.
    rows = jnp.asarray(coefficients).astype(real)
    x, _ = jax.lax.scan(iterate, x, rows)
    return cast(x, matrices.dtype)
