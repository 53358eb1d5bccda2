"""A line search for the strong Wolfe conditions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from fnopt.core import computing_dtype
from fnopt.core.moments import cast
from fnopt.curvature.line import Point


class _Search(NamedTuple):
    """The carry from one evaluation to the next.

    While the minimum is not bracketed, both ends are the last point; then they are the bracket.
    """

    trial: jax.Array
    ends: tuple[Point, Point]
    low: jax.Array  # which end has the lower loss
    zooming: jax.Array
    insufficient: jax.Array  # the last trial was close to an end
    finished: jax.Array
    further: jax.Array  # evaluations after the first


# Where an end comes from: the first end, the second, the new point, the start.
_FIRST, _SECOND, _NEW, _ORIGIN = range(4)


def strong_wolfe(
    along: Callable[[jax.Array], tuple[Any, Any, Any]],
    step: Any,
    value: Any,
    grad: Any,
    slope: Any,
    *,
    c1: Any = 1e-4,
    c2: Any = 0.9,
    tolerance_change: Any = 1e-9,
    max_ls: Any = 25,
    size: Any = 1.0,
) -> tuple[Point, jax.Array]:
    r"""Finds a step along a line that lowers the loss and flattens its slope; as torch does.

    .. math::
        \phi(t) \le \phi(0) + c_1\,t\,\phi'(0), \qquad |\phi'(t)| \le c_2\,|\phi'(0)|,
        \qquad \phi(t) = f(\theta + t\,d)

    First the step grows until it, and the one before, bracket such a place; then the bracket
    shrinks around it. A new step is where the cubic through losses and slopes of two points is
    least, kept off the ends of the bracket where two in a row came close to them. It stops at a
    step that meets the conditions, at a bracket below ``tolerance_change``, or after ``max_ls``
    further evaluations, and returns the lower end of the bracket. Each round is one evaluation.

    From loss or slope that are not finite it recovers no better than torch: an infinite loss makes
    the cubic, and so the step, NaN.

    Args:
        along: a function of a step that returns the loss, the gradient (a tree like ``grad``) and
            the slope :math:`\phi'(t)`.
        step: first step that is tried, :math:`t > 0`.
        value: the loss :math:`\phi(0)`.
        grad: the gradient at 0; every point keeps its own.
        slope: slope at 0, :math:`\phi'(0) < 0`.
        c1: share of the slope by which the loss must fall, :math:`c_1 \in (0, c_2)`.
        c2: share of the slope that may be left, :math:`c_2 \in (c_1, 1)`.
        tolerance_change: smallest length of the bracket, times ``size``.
        max_ls: largest number of evaluations after the first, at least 0; may be traced.
        size: largest magnitude of a component of :math:`d`.

    Returns:
        The point found and the number of evaluations.

    References:
        Nocedal & Wright, *Numerical optimization*, 2nd edition, 2006, Algorithms 3.5 and 3.6, and
        eq. 3.59 for the cubic; in the variant of Schmidt, *minFunc*, 2005.

    >>> import jax, jax.numpy as jnp
    >>> def along(t):
    ...     value, slope = jax.value_and_grad(lambda t: (t - 3.0) ** 4)(t)
    ...     return value, slope, slope  # on a line the gradient is the slope
    >>> point, evaluations = strong_wolfe(along, 1.0, *along(0.0), c2=0.1)
    >>> round(float(point.step), 3), int(evaluations)
    (3.249, 3)
    """
    real = computing_dtype(jnp.result_type(value), jnp.result_type(slope))

    def number(x: Any) -> jax.Array:
        return cast(jnp.asarray(x), real)

    def evaluate(t: jax.Array) -> Point:
        value, grad, slope = along(t)
        return Point(t, number(value), grad, number(slope))

    origin = Point(number(0.0), number(value), grad, number(slope))
    c1, c2, size, tolerance_change = map(number, (c1, c2, size, tolerance_change))
    max_ls = cast(jnp.asarray(max_ls), jnp.int32)

    def round_(s: _Search) -> _Search:
        new, (first, second) = evaluate(s.trial), s.ends
        low = jnp.where(s.low == 0, first.value, second.value)
        # Comparisons with NaN are false, and which way round they are written therefore counts.
        worse = new.value > origin.value + c1 * new.step * origin.slope
        worse |= (s.zooming | (s.further > 1)) & (new.value >= low)
        flat = ~worse & (jnp.abs(new.slope) <= -c2 * origin.slope)

        exhausted = ~s.zooming & (s.further >= max_ls)
        rising = worse | (~flat & (new.slope >= 0))
        width = jnp.where(s.low == 0, second.step - first.step, first.step - second.step)
        turned = ~flat & (new.slope * width >= 0)  # then the old low end is the new high one

        def source(end: int) -> jax.Array:
            other = _SECOND if end == _FIRST else _FIRST
            as_low = jnp.where(worse, end, _NEW)
            as_high = jnp.where(worse, _NEW, jnp.where(turned, other, end))
            return jnp.where(s.low == end, as_low, as_high)

        opened = jnp.where(exhausted, _ORIGIN, jnp.where(rising, _FIRST, _NEW))
        points = (first, second, new, origin)
        a = _pick(jnp.where(s.zooming, source(_FIRST), opened), points)
        b = _pick(jnp.where(s.zooming, source(_SECOND), _NEW), points)
        lower = jnp.where(a.value <= b.value, 0, 1).astype(s.low.dtype)

        zooming = s.zooming | rising
        closed = (s.further >= max_ls) | (jnp.abs(b.step - a.step) * size < tolerance_change)
        finished = flat | exhausted | (zooming & closed)
        inside, insufficient = _between(a, b, s.insufficient)
        bounds = new.step + 0.01 * (new.step - first.step), new.step * 10
        return _Search(
            trial=jnp.where(zooming, inside, _cubic(first, new, bounds)),
            ends=(a, b),
            low=jnp.where(s.zooming & ~worse, s.low, lower),
            zooming=zooming,
            insufficient=zooming & insufficient,
            finished=finished,
            further=s.further + (~finished).astype(s.further.dtype),
        )

    no, zero = jnp.zeros((), bool), jnp.zeros((), jnp.int32)
    start = _Search(number(step), (origin, origin), zero, no, no, no, zero)
    end = jax.lax.while_loop(lambda s: ~s.finished, round_, start)
    return _pick(end.low, end.ends), end.further + 1


def _pick(which: jax.Array, points: tuple[Point, ...]) -> Point:
    which = which.astype(jnp.int32)
    return jax.tree.map(lambda *xs: jax.lax.select_n(which, *xs), *points)


# As in Python, the first of the two where one is NaN.
def _larger(x: Any, y: Any) -> jax.Array:
    return jnp.where(y > x, y, x)


def _smaller(x: Any, y: Any) -> jax.Array:
    return jnp.where(y < x, y, x)


def _cubic(p: Point, q: Point, bounds: tuple[Any, Any]) -> jax.Array:
    """Where the cubic through two points is least, within bounds; their middle if nowhere."""
    d1 = p.slope + q.slope - 3 * (p.value - q.value) / (p.step - q.step)
    square = d1**2 - p.slope * q.slope
    d2 = jnp.sqrt(jnp.where(square >= 0, square, 0))

    def towards(p: Point, q: Point) -> jax.Array:
        share = (q.slope + d2 - d1) / (q.slope - p.slope + 2 * d2)
        return q.step - (q.step - p.step) * share

    least = jnp.where(p.step <= q.step, towards(p, q), towards(q, p))
    return jnp.where(square >= 0, _smaller(_larger(least, bounds[0]), bounds[1]), sum(bounds) / 2)


def _between(a: Point, b: Point, insufficient: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The next step in a bracket, and whether it is close to an end.

    The second in a row that would be, or one at an end, is moved inward by a tenth.
    """
    left, right = _smaller(a.step, b.step), _larger(a.step, b.step)
    t = _cubic(a, b, (left, right))
    margin = 0.1 * (right - left)
    close = _smaller(right - t, t - left) < margin
    moved = close & (insufficient | (t >= right) | (t <= left))
    inward = jnp.where(jnp.abs(t - right) < jnp.abs(t - left), right - margin, left + margin)
    return jnp.where(moved, inward, t), close & ~moved
