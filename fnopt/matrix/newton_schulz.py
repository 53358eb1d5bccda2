"""The Newton-Schulz iteration: the orthogonal factors of matrices, by products alone."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Annotated, Any

import jax
import jax.numpy as jnp

from fnopt.core import norm
from fnopt.core.fields import Field
from fnopt.core.moments import abs_sq, cast, computing_dtype, divide, root
from fnopt.core.types import Arrays, Numeric
from fnopt.matrix import products
from fnopt.matrix.by_shape import wide

Preconditioning = Annotated[
    Any, Field(static=True, choices=("frobenius", "spectral", "aol", "schatten"))
]
"""By what matrices are divided before the iteration, so that no singular value is above 1."""


def orthogonalize(
    matrices: Sequence[jax.Array],
    rows: Any,
    eps: Numeric,
    dtype: Any = None,
    preconditioning: str = "frobenius",
) -> Arrays:
    r"""Each of many matrices with its singular values driven towards 1, those of one shape at once.

    .. math:: X_0 = \frac{M}{\lVert M \rVert + \epsilon}, \qquad
        X_k = a_k\,X_{k-1} + \bigl(b_k\,A_k + c_k\,A_k^2\bigr) X_{k-1}, \qquad
        A_k = X_{k-1} X_{k-1}^*

    Args:
        matrices: :math:`M`, arrays of shape (number, rows, columns). Which way round they lie makes
            no difference to the result, which is transposed with them, except for ``"aol"`` and
            square ones.
        rows: three numbers :math:`a_k, b_k, c_k` for each iteration.
        eps: added to the norm, a number at least 0.
        dtype: dtype of the iteration; the matrices' if None or if they are complex.
        preconditioning: the norm: ``"frobenius"``; ``"spectral"``, which takes singular values, as
            costly as what the iteration avoids; ``"schatten"``, :math:`\lVert M M^*
            \rVert_F^{1/2}`, nearer to the spectral norm than Frobenius'; or ``"aol"``, by which
            each row is divided by the root of the sum of :math:`|M M^*|` along it. The last two
            cost no product, for the first iteration uses it again, and take ``eps`` for the least
            that is divided by.

    References:
        Higham, *Functions of matrices*, 2008, Section 8.3; Jordan et al., *Muon*, 2024, for the
        polynomial of degree 5; Grishina et al., 2025, arXiv:2506.10935, for ``"schatten"``; Boissin
        et al., *Turbo-Muon*, 2025, arXiv:2512.04632, for ``"aol"``.
    """
    start = functools.partial(_STARTS[preconditioning], eps=eps)
    in_turn = preconditioning == "spectral"
    return wide(lambda x: newton_schulz(*start(x), rows, dtype), matrices, in_turn)


def newton_schulz(x: jax.Array, gram: jax.Array | None, rows: Any, dtype: Any = None) -> jax.Array:
    """The iteration of :func:`orthogonalize` on matrices without singular values above 1.

    Args:
        x: an array of shape (…, rows, columns) with at most as many rows as columns; the products
            are as large as the rows.
        gram: ``x`` times its conjugate transpose; computed if None.
        rows, dtype: as of :func:`orthogonalize`.
    """
    given = x.dtype
    narrow = given if jnp.iscomplexobj(x) or dtype is None else jnp.dtype(dtype)
    wider = computing_dtype(narrow)
    numbers = jnp.asarray(rows, jnp.finfo(wider).dtype)

    def iterate(x: jax.Array, gram: jax.Array, numbers: jax.Array) -> jax.Array:
        a, b, c = numbers
        # Products are rounded to the narrow dtype, which halves what an accelerator writes.
        polynomial = b * cast(gram, wider) + c * cast(gram @ gram, wider)
        step = cast(polynomial, narrow) @ x
        return cast(a * cast(x, wider) + cast(step, wider), narrow)

    def body(x: jax.Array, numbers: jax.Array) -> tuple[jax.Array, None]:
        return iterate(x, products.gram(x), numbers), None

    x = cast(x, narrow)
    if gram is not None and len(numbers):
        x, numbers = iterate(x, cast(gram, narrow), numbers[0]), numbers[1:]
    # A loop, so that the program has the products once and their temporaries too.
    x, _ = jax.lax.scan(body, x, numbers)
    return cast(x, given)


Start = tuple[jax.Array, jax.Array | None]


def _frobenius(x: jax.Array, eps: Numeric) -> Start:
    # First by the largest number, so that no square overflows; the result does not depend on it.
    most = jax.lax.stop_gradient(jnp.max(jnp.abs(x), axis=(-2, -1), keepdims=True))
    most = jnp.where(most == 0, jnp.ones_like(most), most)
    x = x / most
    size = root(jnp.sum(abs_sq(x), axis=(-2, -1), keepdims=True))
    return divide(x, size, eps=eps / most), None


def _spectral(x: jax.Array, eps: Numeric) -> Start:
    sizes = jnp.linalg.svd(x, compute_uv=False)[..., :1, None]
    return divide(x, sizes, eps=eps), None


def _schatten(x: jax.Array, eps: Numeric) -> Start:
    gram = products.gram(x)
    size = jnp.maximum(norm(gram, axis=(-2, -1), keepdims=True), eps)
    return divide(x, jnp.sqrt(size), least=eps), divide(gram, size, least=eps)


def _aol(x: jax.Array, eps: Numeric) -> Start:
    gram = products.gram(x)
    sizes = jnp.maximum(jnp.sum(jnp.abs(gram), axis=-1, keepdims=True), eps)
    by = jnp.sqrt(sizes)
    return divide(x, by, least=eps), divide(gram, by * jnp.matrix_transpose(by), least=eps)


_STARTS = {"frobenius": _frobenius, "spectral": _spectral, "schatten": _schatten, "aol": _aol}
