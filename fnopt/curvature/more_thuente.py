"""The line search of Moré and Thuente: sufficient decrease and a flat slope, within a range."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from fnopt.core import computing_dtype
from fnopt.core.moments import cast
from fnopt.curvature.line import Point


class _Numbers(NamedTuple):
    """A point without its gradient."""

    step: jax.Array
    value: jax.Array
    slope: jax.Array


class _Search(NamedTuple):
    """The carry from one evaluation to the next."""

    trial: jax.Array
    best: Point  # the end of the interval with the lower loss
    other: _Numbers
    bracketed: jax.Array
    first_stage: jax.Array
    interval: tuple[jax.Array, jax.Array]  # where the next trial may be
    widths: tuple[jax.Array, jax.Array]  # of the interval, now and before
    largest: jax.Array
    evaluations: jax.Array
    met: jax.Array
    finished: jax.Array


def more_thuente(
    along: Callable[[jax.Array], tuple[Any, Any, Any]],
    step: Any,
    value: Any,
    grad: Any,
    slope: Any,
    *,
    max_step: Any = 1e10,
    ftol: Any = 1e-3,
    gtol: Any = 0.9,
    xtol: Any = 0.1,
    max_evaluations: int = 20,
) -> tuple[Point, jax.Array, jax.Array]:
    r"""Finds a step along a line that lowers the loss and flattens its slope.

    .. math::
        \phi(t) \le \phi(0) + \mu\,t\,\phi'(0), \qquad |\phi'(t)| \le \eta\,|\phi'(0)|,
        \qquad \phi(t) = f(\theta + t\,d)

    Each round is one evaluation, of loss and gradient together. In the differences from the
    authors' ``dcsrch``, a step is halved towards the best one where the loss or slope is not
    finite, and the approximate Wolfe conditions of Hager and Zhang suffice where the loss differs
    from :math:`\phi(0)` by no more than its rounding.

    Args:
        along: a function of a step that returns the loss, the gradient (a tree like ``grad``) and
            the slope :math:`\phi'(t)`.
        step: first step that is tried, :math:`t > 0`.
        value: the loss :math:`\phi(0)`.
        grad: the gradient at 0.
        slope: the slope :math:`\phi'(0) < 0`.
        max_step: largest step that is tried.
        ftol: share :math:`\mu` of the slope by which the loss must fall.
        gtol: share :math:`\eta` of the slope that may be left.
        xtol: relative width of the interval at which the search ends.
        max_evaluations: largest number of evaluations.

    Returns:
        The point, the number of evaluations, and whether the point is better than the start: it
        meets the conditions, or the first of them. Where no point is, it is the start.

    References:
        Moré & Thuente, *Line search algorithms with guaranteed sufficient decrease*, ACM
        Transactions on Mathematical Software 20, 1994, doi:10.1145/192115.192132; the approximate
        conditions: Hager & Zhang, SIAM Journal on Optimization 16, 2005,
        doi:10.1137/030601880, eq. 4.1.

    >>> import jax, jax.numpy as jnp
    >>> def along(t):
    ...     value, slope = jax.value_and_grad(lambda t: (t - 3.0) ** 4)(t)
    ...     return value, slope, slope  # on a line the gradient is the slope
    >>> point, evaluations, accepted = more_thuente(along, 1.0, *along(0.0), gtol=0.1)
    >>> round(float(point.step), 3), int(evaluations), bool(accepted)
    (3.0, 3, True)
    """
    real = computing_dtype(jnp.result_type(value), jnp.result_type(slope))

    def number(x: Any) -> jax.Array:
        return cast(jnp.asarray(x), real)

    step, value, slope, largest = map(number, (step, value, slope, max_step))
    ftol, gtol, xtol = map(number, (ftol, gtol, xtol))
    decrease, noise = ftol * slope, 10 * jnp.finfo(real).eps * jnp.abs(value)

    def round_(s: _Search) -> _Search:
        loss, gradient, new_slope = along(s.trial)
        new = Point(s.trial, number(loss), gradient, number(new_slope))
        finite = jnp.isfinite(new.value) & jnp.isfinite(new.slope)
        low = finite & (new.value <= value + new.step * decrease)
        met = low & (jnp.abs(new.slope) <= -gtol * slope)
        met |= low & (new.step >= s.largest) & (new.slope <= decrease)
        met |= (finite & (jnp.abs(new.value - value) <= noise)) & (
            (new.slope >= gtol * slope) & (new.slope <= (2 * ftol - 1) * slope)
        )
        first_stage = s.first_stage & ~(low & (new.slope >= 0))

        # In the first stage an auxiliary function, without the decrease that is asked for.
        taken = jnp.where(first_stage & (new.value <= s.best.value) & ~low, decrease, 0 * decrease)

        def shifted(p: Any) -> _Numbers:
            return _Numbers(p.step, p.value - p.step * taken, p.slope - taken)

        best, other, at = shifted(s.best), shifted(s.other), shifted(new)
        trial, bracketed = _trial(best, other, at, s.bracketed, s.interval)
        lower, turned = at.value <= best.value, at.slope * jnp.sign(best.slope) < 0
        best = _where(lower | met, new, s.best)
        other = _where(lower, _where(turned, _numbers(s.best), s.other), _numbers(new))

        width = jnp.abs(other.step - best.step)
        middle = best.step + (other.step - best.step) / 2
        slow = bracketed & (width >= 0.66 * s.widths[1])
        trial = jnp.where(jnp.isfinite(trial), trial, jnp.where(bracketed, middle, s.interval[1]))
        trial = jnp.where(slow, middle, trial)
        ends = jnp.minimum(best.step, other.step), jnp.maximum(best.step, other.step)
        beyond = tuple(trial + by * (trial - best.step) for by in (1.1, 4.0))
        trial = jnp.clip(trial, 0, s.largest)
        outside = (trial <= ends[0]) | (trial >= ends[1]) | (width <= xtol * ends[1])
        after = _Search(
            trial=trial,
            best=best,
            other=other,
            bracketed=bracketed,
            first_stage=first_stage,
            interval=_where(bracketed, ends, beyond),
            widths=_where(bracketed, (width, s.widths[0]), s.widths),
            largest=s.largest,
            evaluations=s.evaluations,
            met=met,
            finished=met | (bracketed & outside),
        )
        nearer = s.best.step + (s.trial - s.best.step) / 2
        after = _where(finite, after, s._replace(trial=nearer, largest=nearer))
        evaluations = s.evaluations + 1
        finished = after.finished | (evaluations >= max_evaluations)
        return after._replace(evaluations=evaluations, finished=finished)

    origin = Point(jnp.zeros_like(step), value, grad, slope)
    step = jnp.minimum(step, largest)
    no, zero = jnp.zeros((), bool), jnp.zeros((), jnp.int32)
    start = _Search(
        trial=step,
        best=origin,
        other=_numbers(origin),
        bracketed=no,
        first_stage=~no,
        interval=(jnp.zeros_like(step), 5 * step),
        widths=(largest, 2 * largest),
        largest=largest,
        evaluations=zero,
        met=no,
        finished=no,
    )
    end = jax.lax.while_loop(lambda s: ~s.finished, round_, start)
    low = (end.best.step > 0) & (end.best.value <= value + end.best.step * decrease)
    accepted = end.met | low
    return _where(accepted, end.best, origin), end.evaluations, accepted


def _numbers(point: Point) -> _Numbers:
    return _Numbers(point.step, point.value, point.slope)


def _where(condition: jax.Array, x: Any, y: Any) -> Any:
    return jax.tree.map(lambda x, y: jnp.where(condition, x, y), x, y)


def _trial(
    x: _Numbers, y: _Numbers, p: _Numbers, bracketed: jax.Array, interval: tuple[Any, Any]
) -> tuple[jax.Array, jax.Array]:
    """The next step, and whether a minimum is bracketed: ``dcstep``, Section 4 of the paper.

    Args:
        x: the end of the interval with the lower loss.
        y: the other end.
        p: the new point.
        bracketed: whether a minimum is known to be between the ends.
        interval: where a step may be while none is.
    """
    low, high = interval
    turned = p.slope * jnp.sign(x.slope) < 0

    def minimizer(a: _Numbers, b: _Numbers) -> tuple[jax.Array, jax.Array]:
        """Where the cubic of two points is least, from b on; and whether it is in that direction.

        The formula is not symmetric in its rounding.
        """
        theta = 3 * (a.value - b.value) / (b.step - a.step) + a.slope + b.slope
        size = jnp.maximum(jnp.abs(theta), jnp.maximum(jnp.abs(a.slope), jnp.abs(b.slope)))
        square = (theta / size) ** 2 - (a.slope / size) * (b.slope / size)
        gamma = size * jnp.sqrt(jnp.maximum(square, 0))
        gamma = jnp.where(b.step > a.step, -gamma, gamma)
        ratio = ((gamma - b.slope) + theta) / ((gamma - b.slope) + gamma + a.slope)
        return b.step + ratio * (a.step - b.step), (ratio < 0) & (gamma != 0)

    secant = p.step + (p.slope / (p.slope - x.slope)) * (x.step - p.step)

    # 1: a higher loss. The minimum is bracketed.
    cubic, _ = minimizer(p, x)
    curvature = (x.value - p.value) / (p.step - x.step) + x.slope
    quadratic = x.step + (x.slope / curvature) / 2 * (p.step - x.step)
    nearer = jnp.abs(cubic - x.step) < jnp.abs(quadratic - x.step)
    higher = jnp.where(nearer, cubic, cubic + (quadratic - cubic) / 2)

    # 2: a lower loss, and slopes of opposite sign. The minimum is bracketed.
    cubic, ahead = minimizer(x, p)
    further = jnp.abs(cubic - p.step) > jnp.abs(secant - p.step)
    opposite = jnp.where(further, cubic, secant)

    # 3: a lower loss and a flatter slope of the same sign.
    beyond = jnp.where(p.step > x.step, high, low)
    cubic = jnp.where(ahead, cubic, beyond)
    further = jnp.abs(cubic - p.step) > jnp.abs(secant - p.step)
    inside = jnp.where(further, secant, cubic)
    limit = p.step + 0.66 * (y.step - p.step)
    limited = jnp.where(p.step > x.step, jnp.minimum(limit, inside), jnp.maximum(limit, inside))
    flatter = jnp.where(bracketed, limited, jnp.clip(jnp.where(further, cubic, secant), low, high))

    # 4: a lower loss and a slope that is no flatter.
    steeper = jnp.where(bracketed, minimizer(y, p)[0], beyond)

    same_sign = jnp.where(jnp.abs(p.slope) < jnp.abs(x.slope), flatter, steeper)
    is_higher = p.value > x.value
    trial = jnp.where(is_higher, higher, jnp.where(turned, opposite, same_sign))
    return trial, bracketed | is_higher | turned
