"""Kronecker factors that whiten: how PSGD keeps, fits and applies them."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Annotated, Any, TypeAlias

import jax
import jax.numpy as jnp
from jax.lax.linalg import triangular_solve

from fnopt.core.fields import Field
from fnopt.core.in_turn import after
from fnopt.core.moments import abs_sq, divide, root
from fnopt.core.norms import norm
from fnopt.core.types import Arrays, Numeric
from fnopt.matrix.by_shape import by_shape, joined
from fnopt.matrix.products import adjoint, gram

Factors: TypeAlias = tuple[jax.Array, jax.Array]
"""The factors of rows and of columns of some matrices: upper triangular, of shape (number, size,
size), or diagonal, of shape (number, size)."""

Mode = Annotated[Any, Field(static=True, choices=(None, "smart_one_diag", "one_diag", "all_diag"))]
"""Which factors are diagonal to save memory: none, that of a longer side, of one, or both."""

DAMPING = 2**-11.5
"""The share of a gradient's mean magnitude that is added to it as noise: the root of the distance
from 1 to the next number of float32."""


def diagonal_sides(rows: int, columns: int, largest: int, mode: str | None) -> tuple[bool, bool]:
    """Whether the factors of rows and of columns are diagonal.

    Args:
        rows, columns: the shape of a matrix.
        largest: size above which a factor is diagonal.
        mode: one of :data:`Mode`.
    """
    longer = mode == "one_diag" or (mode == "smart_one_diag" and rows != columns)
    small = tuple(size == 1 or size > largest or mode == "all_diag" for size in (rows, columns))
    return small[0] or (longer and rows > columns), small[1] or (longer and rows <= columns)


def initial_factors(
    shape: tuple[int, ...], largest: int, mode: str | None, scale: Numeric, dtype: Any
) -> Factors:
    """Factors whose Kronecker product is the identity times a number.

    Args:
        shape: the number, rows and columns of matrices.
        largest: size above which a factor is diagonal.
        mode: one of :data:`Mode`.
        scale: the number.
        dtype: dtype of the factors.
    """
    count, *sizes = shape
    sides = diagonal_sides(sizes[0], sizes[1], largest, mode)

    def factor(size: int, diagonal: bool) -> jax.Array:
        one = jnp.ones(size, dtype) if diagonal else jnp.eye(size, dtype=dtype)
        one = one * root(jnp.asarray(scale, one.real.dtype)).astype(dtype)
        return jnp.broadcast_to(one, (count, *one.shape))

    return factor(sizes[0], sides[0]), factor(sizes[1], sides[1])


def annealed(t: Numeric) -> jax.Array:
    """The usual probability of a step at update ``t``: 1 up to 500, 0.03 from about 4000 on."""
    return jnp.clip(jnp.exp((501 - t) / 1000), 0.03, 1.0)


def wide_batches(
    factors: list[Factors], *lists: Arrays
) -> tuple[list[tuple[jax.Array, ...]], Callable[[list[Any]], list[Any]]]:
    """Factors and matrices of one shape joined, transposed where there are more rows than columns.

    Args:
        factors: the factors of each matrix of the first list.
        *lists: lists of matrices, arrays of shape (number, rows, columns).

    Returns:
        For each shape a tuple of the factors and an array of each list; and a function of a list of
        tuples, of a matrix and its factors for each shape, that returns those for each position.
    """
    tall = [x.shape[-2] > x.shape[-1] for x in lists[0]]
    pairs = [pair[::-1] if t else pair for pair, t in zip(factors, tall, strict=True)]
    matrices = [[_turned(x, t) for x, t in zip(xs, tall, strict=True)] for xs in lists]
    batches, parts = joined([left for left, _ in pairs], [right for _, right in pairs], *matrices)

    def back(results: list[Any]) -> list[Any]:
        return [
            (_turned(x, t), *(own[::-1] if t else own))
            for (x, *own), t in zip(parts(results), tall, strict=True)
        ]

    return batches, back


def _turned(x: jax.Array, turn: bool) -> jax.Array:
    return jnp.matrix_transpose(x) if turn else x


def fitted(grads: Arrays, factors: list[Factors], key: jax.Array, rate: Numeric) -> list[Factors]:
    """Factors after a step towards those that whiten; see :class:`scale_by_psgd_kron`.

    Args:
        grads: what is whitened, arrays of shape (number, rows, columns), all of other shapes.
        factors: the factors of each.
        key: the key of the random matrix; there is one for each shape.
        rate: size of the step.
    """
    sides: list[Any] = []
    for g, pair in zip(grads, factors, strict=True):
        solved = [towards for both in sides[-1:] for _, towards, _ in both]
        left, right = after(solved, pair)
        sides.append(_terms(g, left, right, key))
    # Both sides of all matrices: a rows' factor is joined with columns' factors of its size.
    flat = [side for pair in sides for side in pair]
    step = functools.partial(_step, rate=rate)
    new = by_shape(step, *(list(parts) for parts in zip(*flat, strict=True)))
    return list(zip(new[::2], new[1::2], strict=True))


def whitened(x: jax.Array, left: jax.Array, right: jax.Array) -> jax.Array:
    r"""Matrices times their preconditioners, :math:`Q_1^H Q_1 X\, Q_2^T \bar Q_2`."""
    return _between(_adjoint(left), _between(left, x, right), _adjoint(right))


def limited(x: jax.Array, largest: Numeric | None) -> jax.Array:
    """Matrices scaled down where their root mean square is above a number; as they are for None."""
    if largest is None:
        return x
    size = norm(x, (-2, -1), keepdims=True) / math.sqrt(math.prod(x.shape[-2:]))
    return x * jnp.minimum(divide(largest, size, 1.0), 1.0)


def _terms(grad: jax.Array, left: jax.Array, right: jax.Array, key: jax.Array) -> Any:
    """For rows and for columns: the balanced factor, the step's direction and its scale."""
    left, right = _balanced(left, right)
    size = jnp.mean(jnp.abs(grad), axis=(-2, -1), keepdims=True)
    vector = jax.random.normal(key, (1, *grad.shape[1:]), grad.dtype)
    a = _between(left, grad + DAMPING * size * vector, right)
    b = _divided(left, jnp.broadcast_to(vector, grad.shape), right).conj()
    # The step depends on their ratio alone; so that no square over- or underflows.
    largest = jnp.maximum(*(jnp.max(jnp.abs(x), (-2, -1), keepdims=True) for x in (a, b)))
    a, b = a / largest, b / largest

    def side(factor: jax.Array, a: jax.Array, b: jax.Array) -> tuple[jax.Array, ...]:
        by_gradient, by_vector = _gram(a, factor), _gram(b, factor)
        # What whitens a gradient of 0 is infinite: without one the factor stays.
        some = jnp.reshape(size > 0, (-1,) + (1,) * (factor.ndim - 1))
        towards = jnp.where(some, by_gradient - by_vector, jnp.zeros_like(by_vector))
        return factor, towards, by_gradient + by_vector

    return side(left, a, b), side(right, jnp.matrix_transpose(a), jnp.matrix_transpose(b))


def _step(factor: jax.Array, towards: jax.Array, scale: jax.Array, rate: Numeric) -> jax.Array:
    if factor.ndim == 2:
        return factor - rate * towards / jnp.max(scale, axis=-1, keepdims=True) * factor
    return factor - rate * (jnp.triu(towards) / norm_lower_bound(scale)) @ factor


def norm_lower_bound(matrices: jax.Array) -> jax.Array:
    r"""A lower bound of spectral norms, of shape (…, 1, 1), that is rarely far below.

    It is :math:`\lVert A y \rVert / \lVert y \rVert` for :math:`y = A a`, with :math:`a` the
    longest column.

    Args:
        matrices: Hermitian matrices :math:`A`, not 0, whose squares can be represented.
    """
    squares = jnp.sum(abs_sq(matrices), axis=-2, keepdims=True)
    at = jnp.argmax(squares, axis=-1, keepdims=True)
    image = matrices @ jnp.take_along_axis(matrices, at, axis=-1)
    return _length(matrices @ (image / _length(image)))


def _length(vectors: jax.Array) -> jax.Array:
    return root(jnp.sum(abs_sq(vectors), axis=(-2, -1), keepdims=True))


def _balanced(left: jax.Array, right: jax.Array) -> Factors:
    """Factors with the same Kronecker product, whose largest elements are equal."""
    a, b = (jnp.max(jnp.abs(q), axis=range(1, q.ndim), keepdims=True) for q in (left, right))
    a, b = jnp.ravel(a), jnp.ravel(b)
    return _scaled(left, root(b / a)), _scaled(right, root(a / b))


def _scaled(x: jax.Array, factors: jax.Array) -> jax.Array:
    return x * jnp.reshape(factors, (-1,) + (1,) * (x.ndim - 1))


def _between(left: jax.Array, x: jax.Array, right: jax.Array) -> jax.Array:
    """``left @ x @ right.T``, with diagonal factors as vectors."""
    x = left[:, :, None] * x if left.ndim == 2 else left @ x
    return x * right[:, None, :] if right.ndim == 2 else x @ jnp.matrix_transpose(right)


def _divided(left: jax.Array, x: jax.Array, right: jax.Array) -> jax.Array:
    """``inv(left).T @ x @ inv(right)``, with diagonal factors as vectors."""
    if left.ndim == 2:
        x = x / left[:, :, None]
    else:
        x = triangular_solve(left, x, left_side=True, transpose_a=True)
    return x / right[:, None, :] if right.ndim == 2 else triangular_solve(right, x)


def _adjoint(factor: jax.Array) -> jax.Array:
    return factor.conj() if factor.ndim == 2 else adjoint(factor)


def _gram(x: jax.Array, factor: jax.Array) -> jax.Array:
    """Inner products of rows; of each with itself alone if the factor is diagonal."""
    if factor.ndim == 2:
        return jnp.sum(abs_sq(x), axis=-1)
    return gram(x)
