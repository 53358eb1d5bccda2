"""Lanczos' method: extreme eigenvalues and eigenvectors of a matrix known by its products."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from fnopt.core import global_norm, vdot
from fnopt.core.checks import integer, positive_integer
from fnopt.core.entry import entry
from fnopt.core.norms import over_norm
from fnopt.core.prng import typed_key
from fnopt.core.types import PyTree
from fnopt.curvature.linear_operator import LinearOperator, as_operator, tree_like
from fnopt.curvature.real_leaves import (
    from_real_leaves,
    normal_leaves,
    real_leaves,
    real_product,
    without_span,
)

Vector = list[jax.Array]
_ROUNDING = 32
"""A remainder of so many units in the last place is nothing; orthogonality would suffer from it."""


class Tridiagonal(NamedTuple):
    r"""The result of Lanczos' method: :math:`A Q = Q T + \beta\,q\,e_k^\top`.

    Attributes:
        diagonal: the diagonal of :math:`T`, shape (steps,).
        off_diagonal: the numbers beside it, shape (steps - 1,), at least 0.
        remainder: :math:`\beta`, a scalar: the norm of what the next step would begin with.
        basis: the columns of :math:`Q`, orthonormal: a tree like the parameters, with a new first
            axis of length ``steps``.
    """

    diagonal: jax.Array
    off_diagonal: jax.Array
    remainder: jax.Array
    basis: PyTree

    def dense(self) -> jax.Array:
        """The matrix :math:`T`."""
        beside = jnp.diag(self.off_diagonal, 1)
        return jnp.diag(self.diagonal) + beside + beside.T

    def eigh(self) -> tuple[jax.Array, jax.Array]:
        """The eigenvalues of :math:`T`, ascending, and its eigenvectors as columns."""
        return jnp.linalg.eigh(self.dense())


class Eigenpairs(NamedTuple):
    """Some eigenvalues of a matrix, with their eigenvectors.

    Attributes:
        values: the eigenvalues, ascending, shape (number,).
        vectors: the eigenvectors, of norm 1: a tree like the parameters, with a new first axis of
            length ``number``.
        errors: bounds of the errors of the values, shape (number,): there is an eigenvalue this
            near. It is the norm of ``operator @ vector - value * vector``.
    """

    values: jax.Array
    vectors: PyTree
    errors: jax.Array


@entry("curvature.lanczos(operator, key, steps=…)")
def lanczos(
    operator: LinearOperator, key: Any, steps: int = 64, *, start: PyTree = None
) -> Tridiagonal:
    r"""A tridiagonal matrix whose extreme eigenvalues are near those of a symmetric matrix.

    .. math:: \beta_i\,q_{i+1} = A q_i - \alpha_i\,q_i - \beta_{i-1}\,q_{i-1}, \qquad
        \alpha_i = \langle q_i, A q_i \rangle

    Each new vector is made orthogonal to all before it, twice, so that no eigenvalue comes twice by
    rounding. Where the products span no more (:math:`\beta_i = 0`), the next vector is drawn at
    random: with as many steps as there are elements, :math:`T` has exactly the eigenvalues of
    :math:`A`. A step costs one product; the memory is that of ``steps`` vectors.

    Args:
        operator: the matrix :math:`A`, such as :func:`hessian` makes; ``LinearOperator(function,
            like)`` of a linear function of trees.
        key: a PRNG key, or an integer to make one, for the first vector.
        steps: the number of steps, above 0; no more are made than the matrix has rows.
        start: the first vector, a tree like the parameters, of any length; None draws it from a
            normal distribution.

    Raises:
        TypeError: the operator is none, or ``steps`` no integer.
        ValueError: ``steps`` is below 1, or the operator has no rows.

    References:
        Golub & Van Loan, *Matrix Computations*, 4th edition, 2013, Section 10.1 and 10.3.5.
    """
    operator = as_operator("lanczos", operator)
    key = typed_key(key)
    if start is None:
        first = normal_leaves(key, real_leaves(operator.like))
    else:
        first = real_leaves(tree_like("start", start, operator.like))
    product = real_product(operator.product, operator.like)
    diagonal, betas, basis = run(product, first, key, steps_of("lanczos", operator, steps))
    whole = jax.vmap(lambda leaves: from_real_leaves(leaves, operator.like))(basis)
    return Tridiagonal(diagonal, betas[:-1], betas[-1], whole)


@entry("curvature.extreme_eigenpairs(operator, key, largest=…, smallest=…)")
def extreme_eigenpairs(
    operator: LinearOperator,
    key: Any,
    largest: int = 1,
    smallest: int = 0,
    *,
    steps: int = 64,
    start: PyTree = None,
) -> Eigenpairs:
    """The largest and the smallest eigenvalues of a symmetric matrix, with their eigenvectors.

    They are those of :func:`lanczos`. The ends of the spectrum converge first, and an end that
    stands apart from the rest in a few steps; ``errors`` says how far it is. A multiple eigenvalue
    comes once unless there are as many steps as rows.

    Args:
        operator: the matrix, such as :func:`hessian` makes.
        key: a PRNG key, or an integer to make one, for the first vector.
        largest: the number of largest eigenvalues, at least 0.
        smallest: the number of smallest (most negative) ones, at least 0.
        steps: the number of steps of Lanczos' method, at least ``largest + smallest``; no more are
            made than the matrix has rows.
        start: the first vector, a tree like the parameters; None draws it.

    Raises:
        TypeError: the operator is none, or a number no integer.
        ValueError: there are fewer steps, or rows, than eigenvalues asked for.

    >>> import jax.numpy as jnp
    >>> from fnopt import curvature
    >>> matrix = curvature.hessian(lambda x: x[0] ** 2 - x[1] ** 2 + x[2] ** 4, jnp.ones(3))
    >>> curvature.extreme_eigenpairs(matrix, key=0, largest=1, smallest=1).values.round(4)
    Array([-2., 12.], dtype=float32)
    """
    operator = as_operator("extreme_eigenpairs", operator)
    largest = integer("extreme_eigenpairs: largest", largest, least=0)
    smallest = integer("extreme_eigenpairs: smallest", smallest, least=0)
    steps = steps_of("extreme_eigenpairs", operator, steps)
    if not 0 < largest + smallest <= steps:
        raise ValueError(
            f"extreme_eigenpairs: largest={largest} and smallest={smallest} are together to be"
            f" from 1 to {steps}, the number of steps (of a matrix of {operator.size} rows)"
        )
    result = lanczos(operator, key, steps, start=start)
    values, vectors = result.eigh()
    wanted = jnp.asarray([*range(smallest), *range(steps - largest, steps)])
    values, vectors = values[wanted], vectors[:, wanted]

    def combine(basis: jax.Array) -> jax.Array:
        return jnp.tensordot(vectors.T.astype(basis.dtype), basis, 1, precision="highest")

    errors = result.remainder * jnp.abs(vectors[-1])
    return Eigenpairs(values, jax.tree.map(combine, result.basis), errors)


def run(
    product: Callable[[Vector], Vector], start: Vector, key: jax.Array, steps: int
) -> tuple[jax.Array, jax.Array, Vector]:
    """Lanczos' method on lists of real arrays of one dtype.

    Args:
        product: the matrix times such a list.
        start: the first vector, of any length.
        key: the key of vectors that are drawn where the products span no more.
        steps: the number of steps, at most the number of elements.

    Returns:
        The diagonal; the numbers beside it, with the remainder as the last; the basis.
    """

    def step(carry: Any, i: jax.Array) -> tuple[Any, Any]:
        basis, vector, scale = carry
        basis = [b.at[i].set(x) for b, x in zip(basis, vector, strict=True)]
        image = product(vector)
        alpha = vdot(vector, image)
        scale = jnp.maximum(scale, global_norm(image))
        rest = without_span(image, basis)
        beta = global_norm(rest)
        # What is left is rounding: another direction continues, as of a matrix in two blocks.
        ended = beta <= _ROUNDING * jnp.finfo(beta.dtype).eps * scale
        rest = jax.lax.cond(
            ended,
            lambda: without_span(normal_leaves(jax.random.fold_in(key, i), vector), basis),
            lambda: rest,
        )
        beta = jnp.where(ended, jnp.zeros_like(beta), beta)
        return (basis, _of_length_1(rest), scale), (alpha, beta)

    basis = [jnp.zeros((steps, *x.shape), x.dtype) for x in start]
    scale = jnp.zeros((), start[0].dtype)
    begin = basis, _of_length_1(start), scale
    (basis, _, _), (diagonal, betas) = jax.lax.scan(step, begin, jnp.arange(steps))
    return diagonal, betas, basis


def steps_of(caller: str, operator: LinearOperator, steps: Any) -> int:
    """The number of steps, at most the number of rows; refuses what is no number of them."""
    return min(positive_integer(f"{caller}: steps", steps), operator.size)


def _of_length_1(vector: Vector) -> Vector:
    size = global_norm(vector)
    return [over_norm(x, size) for x in vector]
