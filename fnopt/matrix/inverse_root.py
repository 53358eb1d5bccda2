"""Inverse roots of symmetric positive semidefinite matrices, many at once."""

from __future__ import annotations

import functools
from typing import Annotated, Any, Literal, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np

from fnopt.core.fields import Field
from fnopt.core.moments import divide
from fnopt.core.types import Numeric
from fnopt.matrix.products import adjoint

METHODS = ("eigh", "newton")
RootMethod: TypeAlias = Annotated[Literal["eigh", "newton"], Field(static=True, choices=METHODS)]
"""How inverse roots are computed: by eigendecomposition or by a coupled Newton iteration."""

ITERATIONS = 100
"""Of Newton's method and of the power method, at most."""
FAILURE = 0.1
"""The error from which a root by Newton's method is not used."""


def inverse_root(
    matrices: jax.Array,
    p: int,
    eps: Numeric,
    method: str = "eigh",
    old: jax.Array | None = None,
) -> jax.Array:
    r"""The inverse p-th roots of matrices with a ridge that is relative to the largest eigenvalue.

    .. math:: (A + \epsilon\,\lambda_{\max}(A)\,I)^{-1/p}

    Of a matrix of zeros it is the identity, as if nothing were known of it. Eigenvalues that
    rounding has made negative count as 0. With ``"eigh"`` an :math:`\epsilon` below the rounding of
    the dtype (of float32 about :math:`10^{-7}`) leaves the smallest eigenvalues to chance.

    The coupled Newton iteration is made of products alone, so that it suits accelerators; it takes
    some 10 to 30 of them, more for a smaller :math:`\epsilon`. With :math:`z = (1 + p) / (2 \lVert
    A \rVert_F)`, :math:`M_0 = z A` and :math:`X_0 = z^{1/p} I`,

    .. math:: T_k = \frac{(p + 1) I - M_k}{p}, \qquad X_{k+1} = X_k T_k, \qquad
        M_{k+1} = T_k^p M_k

    until :math:`\lVert M - I \rVert_F` is at rounding, 100 times at most. :math:`\lambda_{\max}` is
    that of a power iteration. The authors' program takes the largest element of :math:`|M - I|`,
    which may grow before it falls, and stops where it does by a fifth; its tolerances are 1e-6 and,
    for :math:`\lambda_{\max}`, absolute, where here they depend on the dtype and are relative.

    The derivative is that of the exact root, whichever the method, and is finite where eigenvalues
    coincide.

    Args:
        matrices: Hermitian matrices in single precision at least, of shape (number, n, n).
        p: the root, an integer at least 1.
        eps: the ridge :math:`\epsilon \ge 0`, a number.
        method: ``"eigh"`` or ``"newton"``.
        old: what is returned, an array like ``matrices``, where a root is not finite or Newton's
            method fails, which is where its error is above 0.1; NaN there if None.

    References:
        Anil et al., *Scalable second order optimization for deep learning*, 2020, arXiv:2002.09018,
        Section 5 and Appendix; Guo & Higham, *A Schur-Newton method for the matrix p-th root and
        its inverse*, SIAM J. Matrix Anal. Appl. 28, 2006, eq. 3.2. For the derivative, Higham,
        *Functions of matrices*, 2008, Theorem 3.11.
    """
    # Of size 1, so that squares are representable; the ridge being relative, it is only a factor.
    diagonals = jnp.diagonal(matrices, axis1=-2, axis2=-1)
    size = jax.lax.stop_gradient(jnp.max(jnp.abs(diagonals), axis=-1)[:, None, None])
    identity = jnp.eye(matrices.shape[-1], dtype=matrices.dtype)[None]
    unknown, size = size == 0, jnp.where(size == 0, jnp.ones_like(size), size)
    unit = jnp.where(unknown, identity, matrices / size)
    roots = size ** (-1 / p) * _root(p, method, unit, jnp.asarray(eps).astype(size.dtype))
    roots = jnp.where(unknown, identity, roots)
    if old is None:
        return roots
    sound = jnp.all(jnp.isfinite(roots), axis=(-2, -1), keepdims=True)
    return jnp.where(sound, roots, old)


@functools.partial(jax.custom_jvp, nondiff_argnums=(0, 1))
def _root(p: int, method: str, matrices: jax.Array, eps: jax.Array) -> jax.Array:
    with jax.default_matmul_precision("highest"):
        if method == "newton":
            return jax.vmap(functools.partial(_newton, p=p), (0, None))(matrices, eps)
        _, ridged, vectors = _eigh(matrices, eps)
        return (vectors * ridged[:, None, :] ** (-1 / p)) @ adjoint(vectors)


@_root.defjvp
def _root_jvp(p: int, method: str, primals: Any, tangents: Any) -> Any:
    (matrices, eps), (change, change_of_eps) = primals, tangents
    with jax.default_matmul_precision("highest"), jax.numpy_dtype_promotion("standard"):
        values, ridged, vectors = _eigh(matrices, eps)
        change = adjoint(vectors) @ ((change + adjoint(change)) / 2) @ vectors
        # Eigenvalues are in order of size, so that the last is the largest.
        of_ridge = change_of_eps * values[:, -1:] + eps * change[:, -1, -1:].real
        identity = jnp.eye(matrices.shape[-1], dtype=matrices.dtype)[None]
        change = change + identity * of_ridge[:, None]
        change = vectors @ (_divided_differences(ridged, p) * change) @ adjoint(vectors)
        return _root(p, method, matrices, eps), change


def _eigh(matrices: jax.Array, eps: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Eigenvalues, at least 0, these with the ridge, and eigenvectors."""
    values, vectors = jnp.linalg.eigh(matrices)
    values = jnp.maximum(values, jnp.zeros_like(values))
    return values, values + eps * values[:, -1:], vectors


def _divided_differences(x: jax.Array, p: int) -> jax.Array:
    """The slopes of the inverse root between each two numbers, at them where they are close."""
    a, b = x[:, :, None], x[:, None, :]
    middle, apart = (a + b) / 2, a - b
    close = jnp.abs(apart) <= jnp.cbrt(jnp.finfo(x.dtype).eps) * middle
    slope = -(middle ** (-1 / p - 1)) / p
    return jnp.where(close, slope, (a ** (-1 / p) - b ** (-1 / p)) / jnp.where(close, 1.0, apart))


def _newton(matrix: jax.Array, eps: jax.Array, p: int) -> jax.Array:
    """The inverse root of one matrix with its ridge; NaN if the iteration fails."""
    identity = jnp.eye(matrix.shape[-1], dtype=matrix.dtype)
    matrix = matrix + eps * _largest_eigenvalue(matrix) * identity
    z = (1 + p) / 2 / jnp.linalg.norm(matrix)
    tolerance = _tolerance(matrix.dtype)

    def error_of(m: jax.Array) -> jax.Array:
        return jnp.linalg.norm(m - identity)

    def going_on(carry: Any) -> jax.Array:
        count, _, _, _, error, before = carry
        # It converges quadratically: what is small and does not fall fast is rounding.
        falling = error < jnp.where(error < FAILURE, before / 2, 1.2 * before)
        return (count < ITERATIONS) & (error > tolerance) & falling

    def iterate(carry: Any) -> Any:
        count, m, root, _, error, _ = carry
        by = ((p + 1) * identity - m) / p
        m = jnp.linalg.matrix_power(by, p) @ m
        return count + 1, m, root @ by, root, error_of(m), error

    m, root = z * matrix, z ** (1 / p) * identity
    error = error_of(m)
    start = (jnp.zeros((), jnp.int32), m, root, root, error, jnp.full_like(error, jnp.inf))
    _, _, root, root_before, error, before = jax.lax.while_loop(going_on, iterate, start)
    better = error <= before
    sound = jnp.where(better, error, before) < FAILURE
    return jnp.where(sound, jnp.where(better, root, root_before), jnp.nan)


def _largest_eigenvalue(matrix: jax.Array) -> jax.Array:
    """By the power method, from a start that is the same for all."""
    start = np.random.RandomState(0).uniform(-1, 1, matrix.shape[-1])
    tolerance = _tolerance(matrix.dtype)

    def going_on(carry: Any) -> jax.Array:
        count, _, value, before = carry
        return (count < ITERATIONS) & (jnp.abs(value - before) > tolerance * value)

    def iterate(carry: Any) -> Any:
        count, vector, value, _ = carry
        product = matrix @ vector
        new = jnp.vdot(vector, product).real
        return count + 1, divide(product, jnp.linalg.norm(product)), new, value

    vector = jnp.asarray(start / np.linalg.norm(start), matrix.dtype)
    one = jnp.ones((), jnp.finfo(matrix.dtype).dtype)
    carry = (jnp.zeros((), jnp.int32), vector, one, jnp.zeros_like(one))
    return jax.lax.while_loop(going_on, iterate, carry)[2]


def _tolerance(dtype: Any) -> float:
    """Of errors that are as small as rounding lets them: 3e-6 of float32, 3e-13 of float64."""
    return float(jnp.finfo(dtype).eps) ** 0.8
