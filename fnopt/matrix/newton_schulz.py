"""The Newton-Schulz iteration: the orthogonal factor of a matrix, by products alone."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from fnopt.core.moments import cast, computing_dtype
from fnopt.core.norms import norm
from fnopt.core.types import Numeric


def orthogonalized(
    matrix: jax.Array, coefficients: Any, steps: int, eps: Numeric, dtype: Any = None
) -> jax.Array:
    r"""A matrix with its singular values driven towards 1.

    .. math:: X_0 = \frac{M}{\max(\lVert M \rVert_F, \epsilon)}, \qquad
        X_{k+1} = a\,X_k + \bigl(b\,A_k + c\,A_k^2\bigr) X_k, \qquad A_k = X_k X_k^T

    Args:
        matrix: :math:`M`, an array of two axes; the products are as large as its smaller side.
        coefficients: three numbers :math:`a, b, c`. Muon's do not converge: they bring all but the
            smallest values between 0.7 and 1.2, fast.
        steps: number of iterations.
        eps: smallest norm that is divided by, a number at least 0.
        dtype: dtype of the iteration; the matrix's if None.

    References:
        Higham, *Functions of matrices*, 2008, Section 8.3; Jordan et al., *Muon*, 2024, for the
        polynomial of degree 5.
    """
    narrow = jnp.dtype(dtype or matrix.dtype)
    wide = computing_dtype(narrow)

    def product(x: jax.Array, y: jax.Array) -> jax.Array:
        return jnp.matmul(x, y, preferred_element_type=wide)

    # Sums are wide, and each is rounded once.
    a, b, c = (jnp.asarray(number).astype(wide) for number in coefficients)
    x = cast(matrix, narrow)
    tall = x.shape[0] > x.shape[1]
    x = x.T if tall else x
    size = jnp.maximum(norm(cast(x, wide)), jnp.asarray(eps).astype(wide))
    x = cast(cast(x, wide) / cast(cast(size, narrow), wide), narrow)
    for _ in range(steps):
        gram = cast(product(x, x.T), narrow)
        polynomial = cast(b * cast(gram, wide) + c * product(gram, gram), narrow)
        x = cast(a * cast(x, wide) + product(polynomial, x), narrow)
    return cast(x.T if tall else x, matrix.dtype)
