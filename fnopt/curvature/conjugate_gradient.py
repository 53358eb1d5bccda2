"""Conjugate gradients on trees: truncated, in a trust region, aware of negative curvature."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from fnopt.core import computing_dtype, global_norm, vdot
from fnopt.core.moments import cast
from fnopt.core.types import Arrays, Numeric, PyTree
from fnopt.curvature.linear_operator import LinearOperator


class Solution(NamedTuple):
    r"""An approximate solution of :math:`A\,x = b`, and how it was reached.

    Attributes:
        x: the solution, a tree like ``b`` in single precision at least.
        residual: the norm :math:`\lVert b - A\,x \rVert` by recurrence.
        decrease: :math:`\langle b, x \rangle - \tfrac12 \langle x, A\,x \rangle`, by how much the
            quadratic is lower at :math:`x` than at 0.
        products: number of products with :math:`A`.
        negative: whether a direction with :math:`\langle d, A\,d \rangle \le 0` ended it.
        bounded: whether :math:`x` is on the boundary of the region.
    """

    x: PyTree
    residual: jax.Array
    decrease: jax.Array
    products: jax.Array
    negative: jax.Array
    bounded: jax.Array


class _Run(NamedTuple):
    """The carry of the loop; of the system divided by the norm of b."""

    x: Arrays
    residual: Arrays
    direction: Arrays
    square: jax.Array
    steps: jax.Array
    negative: jax.Array
    bounded: jax.Array
    stopped: jax.Array


def conjugate_gradient(
    product: LinearOperator | Callable[[PyTree], PyTree],
    b: PyTree,
    *,
    max_steps: int,
    rtol: Numeric = 0.0,
    atol: Numeric = 0.0,
    radius: Numeric = jnp.inf,
    start: PyTree = None,
) -> Solution:
    r"""Minimizes :math:`\tfrac12 \langle x, A\,x \rangle - \langle b, x \rangle` by its gradients.

    That is :math:`A\,x = b` where :math:`A` is positive definite; for a step :math:`b` is the
    negative gradient. It ends at a small residual, after ``max_steps`` products, where the next
    :math:`x` would leave the region :math:`\lVert x \rVert \le \Delta`, or at a direction of
    negative curvature; in the last two cases it follows the direction to the boundary. Without a
    boundary, at negative curvature, :math:`x` stays, or is a step of length
    :math:`\lVert r \rVert^3 / |\langle r, A\,r \rangle|` along :math:`r = b` where it is still 0.
    Where a product is not finite, :math:`x` stays as it was before. No matrix is built.

    Args:
        product: the symmetric :math:`A`, a :class:`LinearOperator`, or a function
            ``product(tree)`` that gives it times a tree like ``b`` in its dtypes.
        b: the right-hand side, a tree of floating or complex arrays. Complex ones are twice as
            many real ones.
        max_steps: largest number of steps, with one product each; a Python integer.
        rtol: it ends at a residual of ``rtol`` :math:`\lVert b \rVert`.
        atol: or of ``atol``, the larger of the two.
        radius: :math:`\Delta > 0`; inf for no boundary.
        start: the first :math:`x`, a tree like ``b``; 0 if None. It costs a product, is shortened
            to the radius, and is replaced by 0 where the quadratic is not lower there.

    Returns:
        The :class:`Solution`. Its loop has no reverse-mode derivative.

    References:
        Hestenes & Stiefel, *Methods of conjugate gradients for solving linear systems*, 1952;
        Steihaug, *The conjugate gradient method and trust regions in large scale optimization*,
        SIAM Journal on Numerical Analysis 20, 1983, doi:10.1137/0720042; Toint, *Towards an
        efficient sparsity exploiting Newton method for minimization*, 1981.

    >>> import jax.numpy as jnp
    >>> from fnopt import curvature
    >>> matrix = jnp.array([[2.0, 1.0], [1.0, 3.0]])
    >>> solved = curvature.conjugate_gradient(matrix.dot, jnp.array([3.0, 4.0]), max_steps=2)
    >>> [round(float(number), 4) for number in solved.x]
    [1.0, 1.0]
    """
    times_tree = product.product if isinstance(product, LinearOperator) else product
    leaves, treedef = jax.tree.flatten(b)
    dtypes = [leaf.dtype for leaf in leaves]
    wide = [computing_dtype(dtype) for dtype in dtypes]

    def widened(tree: PyTree) -> Arrays:
        return [cast(x, d) for x, d in zip(treedef.flatten_up_to(tree), wide, strict=True)]

    def times(xs: Arrays) -> Arrays:
        narrow = [cast(x, dtype) for x, dtype in zip(xs, dtypes, strict=True)]
        return widened(times_tree(treedef.unflatten(narrow)))

    size = global_norm(leaves)
    real = size.dtype
    unit = jnp.where(size > 0, size, jnp.ones_like(size))
    # Of a system of unit length no square is too large or too small.
    target = _over(widened(b), unit)
    bound = jnp.asarray(radius, real) / unit
    tolerance = jnp.maximum(jnp.asarray(rtol, real), jnp.asarray(atol, real) / unit)
    x, residual = [jnp.zeros_like(x) for x in target], target
    if start is not None:
        x, residual = _started(times, target, _over(widened(start), unit), bound)

    def proceeds(run: _Run) -> jax.Array:
        small = run.square <= tolerance * tolerance
        return (run.steps < max_steps) & ~run.stopped & ~small

    def proceed(run: _Run) -> _Run:
        return _step(times, run, bound)

    no, square = jnp.zeros((), bool), vdot(residual, residual)
    first = _Run(x, residual, residual, square, jnp.zeros((), jnp.int32), no, no, no)
    run = jax.lax.while_loop(proceeds, proceed, first)
    # <b, x> - <x, A x> / 2, without a product.
    decrease = (vdot(target, run.x) + vdot(run.residual, run.x)) / 2
    return Solution(
        treedef.unflatten([cast(unit, x.dtype) * x for x in run.x]),
        unit * jnp.sqrt(run.square),
        unit * (unit * decrease),
        run.steps + (0 if start is None else 1),
        run.negative,
        run.bounded,
    )


def _over(xs: Arrays, size: jax.Array) -> Arrays:
    return [x / cast(size, x.dtype) for x in xs]


def _along(xs: Arrays, step: jax.Array, ds: Arrays) -> Arrays:
    return [x + cast(step, x.dtype) * d for x, d in zip(xs, ds, strict=True)]


def _started(
    times: Callable[[Arrays], Arrays], target: Arrays, x: Arrays, bound: jax.Array
) -> tuple[Arrays, Arrays]:
    """The first x and its residual; of 0 where the quadratic is not lower at the start given."""
    length = global_norm(x)
    inside = jnp.where(length > bound, bound / length, jnp.ones_like(length))
    x = [cast(inside, y.dtype) * y for y in x]
    residual = _along(target, -jnp.ones_like(bound), times(x))
    # False also where the product is not finite.
    lower = vdot(target, x) + vdot(residual, x) > 0
    x = [jnp.where(lower, y, jnp.zeros_like(y)) for y in x]
    return x, [jnp.where(lower, r, b) for r, b in zip(residual, target, strict=True)]


def _step(times: Callable[[Arrays], Arrays], run: _Run, bound: jax.Array) -> _Run:
    """A step along the direction, shortened to the boundary, and the next direction."""
    image = times(run.direction)
    curvature = vdot(run.direction, image)
    one = jnp.ones_like(curvature)
    negative = curvature <= 0
    step = run.square / jnp.where(curvature == 0, one, jnp.abs(curvature))
    moved = _along(run.x, step, run.direction)
    has_bound = jnp.isfinite(bound)
    bounded = has_bound & (negative | (global_norm(moved) >= bound))
    step = jnp.where(bounded, _to_boundary(run.x, run.direction, bound), step)
    # Without a boundary negative curvature makes a step only where there would be none.
    stays = negative & ~has_bound & (vdot(run.x, run.x) > 0)
    stays |= ~(jnp.isfinite(curvature) & jnp.isfinite(step))
    step = jnp.where(stays, jnp.zeros_like(step), step)
    image = [jnp.where(stays, jnp.zeros_like(y), y) for y in image]
    x = _along(run.x, step, run.direction)
    residual = _along(run.residual, -step, image)
    square = vdot(residual, residual)
    ratio = square / jnp.where(run.square > 0, run.square, one)
    direction = _along(residual, ratio, run.direction)
    stopped = negative | bounded | stays
    return _Run(x, residual, direction, square, run.steps + 1, negative, bounded, stopped)


def _to_boundary(x: Arrays, direction: Arrays, bound: jax.Array) -> jax.Array:
    """The positive t at which x + t d is on the boundary, without a difference of like numbers."""
    one = jnp.ones_like(bound)
    bound = jnp.where(jnp.isfinite(bound), bound, one)
    size = global_norm(direction)
    size = jnp.where(size > 0, size, one)
    # In units of the bound and of the direction, whose squares may be too large or too small.
    position, unit = _over(x, bound), _over(direction, size)
    product, length = vdot(position, unit), global_norm(position)
    room = jnp.maximum((1 - length) * (1 + length), 0)
    root = jnp.sqrt(product * product + room)
    ahead = product > 0
    step = jnp.where(ahead, room / jnp.where(ahead, product + root, one), root - product)
    return step * (bound / size)
