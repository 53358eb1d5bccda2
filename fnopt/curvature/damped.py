r"""Damped systems :math:`(A + \lambda D^2)\,x = b` of a positive semidefinite matrix of curvature.

Each is a function ``solve(free, fixed)`` that gives the solution of the elements that are free, the
others being held at a value: with all of them free it is the solution, and bounds hold some.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from fnopt.core import Evaluation
from fnopt.core.moments import cast
from fnopt.core.types import Numeric, Params, PyTree
from fnopt.curvature.dense import RealVector, solve_positive


class Linearization(NamedTuple):
    """Residuals and their derivative.

    Attributes:
        residuals: a vector.
        jacobian: the matrix of their derivatives, a column for each parameter.
    """

    residuals: jax.Array
    jacobian: jax.Array


def linearized(evaluation: Evaluation, params: Params, vectors: RealVector) -> Linearization:
    """The residuals at the parameters and their Jacobian, by one forward derivative a parameter."""
    if evaluation.residuals is None:
        raise ValueError(
            "levenberg_marquardt: solver 'qr' needs residuals, Evaluation.of_residuals(residuals);"
            " with a loss on outputs choose solver='cholesky' or 'cg'"
        )
    residuals, derivative = jax.linearize(evaluation.residuals, params)
    units = jnp.eye(vectors.size, dtype=vectors.dtype)

    def column(unit: jax.Array) -> jax.Array:
        return concatenated(derivative(vectors.unpack(unit)), vectors.dtype)

    return Linearization(
        concatenated(residuals, vectors.dtype), jax.vmap(column, out_axes=1)(units)
    )


def concatenated(tree: PyTree, dtype: Any) -> jax.Array:
    """The elements of all arrays of a tree as one vector."""
    parts = [cast(jnp.ravel(leaf), dtype) for leaf in jax.tree.leaves(tree)]
    return jnp.concatenate(parts) if parts else jnp.zeros(0, dtype)


times = functools.partial(jnp.matmul, precision="highest")
"""A product of matrices in the precision of their dtype."""
Solve = Callable[[jax.Array, jax.Array], jax.Array]
"""``solve(free, fixed)``: a vector of flags, and the values of the elements that are not free."""


def by_qr(jacobian: jax.Array, residuals: jax.Array, damping: Numeric) -> Solve:
    r"""Minimizes :math:`\lVert J\,x + r \rVert^2 + \lambda \lVert x \rVert^2` by QR.

    :math:`J^\top J` is not formed, whose condition is the square of that of J. The rows of J are
    first reduced to a triangle.

    Args:
        jacobian: J.
        residuals: r.
        damping: :math:`\lambda`; above 0 where J has not full rank.
    """
    size = jacobian.shape[1]
    triangle = jnp.linalg.qr(jnp.concatenate([jacobian, -residuals[:, None]], 1), mode="r")
    damped = jnp.sqrt(jnp.asarray(damping, jacobian.dtype)) * jnp.eye(size, dtype=jacobian.dtype)

    def solve(free: jax.Array, fixed: jax.Array) -> jax.Array:
        matrix, target = triangle[:, :size], triangle[:, size]
        target = target - times(matrix, jnp.where(free, 0, fixed))
        # What is fixed has a column with a damping alone, so that the rank stays full.
        extra = jnp.where(free[:, None], damped, jnp.eye(size, dtype=damped.dtype))
        rows = jnp.concatenate([jnp.where(free, matrix, 0), extra])
        right = jnp.concatenate([target, jnp.zeros(size, target.dtype)])
        both = jnp.linalg.qr(jnp.concatenate([rows, right[:, None]], 1), mode="r")
        x = jax.scipy.linalg.solve_triangular(both[:size, :size], both[:size, size])
        return jnp.where(free, x, fixed)

    return solve


def by_cholesky(matrix: jax.Array, b: jax.Array, damping: jax.Array) -> Solve:
    r"""Solves :math:`(A + \lambda I)\,x = b` by Cholesky's factors.

    Args:
        matrix: A, symmetric; negative eigenvalues count as positive ones.
        b: the right-hand side.
        damping: :math:`\lambda`.
    """
    unit = jnp.eye(len(matrix), dtype=matrix.dtype)

    def solve(free: jax.Array, fixed: jax.Array) -> jax.Array:
        carried = times(matrix, jnp.where(free, 0, fixed))
        both = free[:, None] & free[None]
        kept = jnp.where(both, matrix, jnp.where(free[None], 0, unit))
        # The damping is of what is fixed, too.
        target = jnp.where(free, b - carried, (1 + damping) * fixed)
        return jnp.where(free, solve_positive(kept, target, damping), fixed)

    return solve


def in_box(solve: Solve, slope: Callable[[jax.Array], jax.Array], low: Any, high: Any) -> jax.Array:
    r"""Minimizes a damped quadratic within bounds, by a primal-dual active set.

    Args:
        solve: the solution where some elements are held.
        slope: ``slope(x)``, the gradient of the quadratic.
        low: smallest values, a vector.
        high: largest values.

    Returns:
        A vector within the bounds. It is the minimum unless the sets have not settled after as
        many passes as there are elements, and ten; with enough damping they settle at once.

    References:
        Hintermüller, Ito & Kunisch, *The primal-dual active set strategy as a semismooth Newton
        method*, SIAM Journal on Optimization 13, 2003, doi:10.1137/S1052623401383558.
    """
    none = jnp.zeros(low.shape, bool)

    def step(carry: Any) -> Any:
        x, at_low, at_high, _, i = carry
        force = slope(x)
        # Held as long as the bound pushes back; free until it crosses.
        lows = jnp.where(at_low, force > 0, x < low)
        highs = jnp.where(at_high, force < 0, x > high) & ~lows
        changed = jnp.any((lows != at_low) | (highs != at_high))
        x = solve(~(lows | highs), jnp.where(lows, low, high))
        return x, lows, highs, changed, i + 1

    def proceeds(carry: Any) -> jax.Array:
        return carry[3] & (carry[4] < len(low) + 10)

    x = solve(~none, jnp.zeros_like(low))
    start = x, none, none, jnp.ones((), bool), jnp.zeros((), jnp.int32)
    x = jax.lax.while_loop(proceeds, step, start)[0]
    return jnp.clip(x, low, high)
