"""The line search of Hager and Zhang, as a function, and the state of its transform."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from fnopt.core import divide
from fnopt.core.types import Updates
from fnopt.curvature.line import Point


class HagerZhangLinesearchInfo(NamedTuple):
    """How the last line search went.

    Attributes:
        num_linesearch_steps: number of evaluations of loss and gradient.
        decrease_error: by how much the decrease of the loss falls short, 0 if it does not.
        curvature_error: by how much the slope is too steep, 0 if it is not; above 0 after a failed
            search.
    """

    num_linesearch_steps: jax.Array
    decrease_error: jax.Array
    curvature_error: jax.Array


class ScaleByHagerZhangLinesearchState(NamedTuple):
    """The state of :class:`scale_by_hager_zhang_linesearch`.

    Attributes:
        learning_rate: the step found; after an update of 0 the step at which the search ended.
        value: the loss after the update.
        grad: the gradient after the update.
        info: how the search went.
    """

    learning_rate: jax.Array
    value: jax.Array
    grad: Updates
    info: HagerZhangLinesearchInfo


# What proposed the trial: the search for a bracket; the two secants of a round; the middle of the
# bracket, where these have not shortened it enough; halving, while the bracket's right end is too
# high.
_BRACKET, _SECANT, _SECOND, _MIDDLE, _HALVING = np.arange(5, dtype=np.int32)


class _End(NamedTuple):
    step: jax.Array
    slope: jax.Array


class _Search(NamedTuple):
    """The carry from one evaluation to the next; ``left`` and ``right`` are the bracket."""

    trial: jax.Array
    phase: jax.Array
    halved_in: jax.Array  # the phase in which halving began
    left: _End
    right: _End
    old_left: _End  # the bracket when the round began
    old_right: _End
    best: Point
    count: jax.Array
    found: jax.Array
    stuck: jax.Array


def hager_zhang(
    along: Callable[[jax.Array], Point],
    step: jax.Array,
    origin: Point,
    *,
    max_steps: int = 30,
    max_step: Any = jnp.inf,
    delta: Any = 0.1,
    sigma: Any = 0.9,
    epsilon: Any = 1e-6,
    theta: Any = 0.5,
    gamma: Any = 0.66,
    rho: Any = 5.0,
) -> tuple[Point, jax.Array, jax.Array]:
    r"""Finds a step along a line that satisfies the Wolfe conditions, or approximate ones.

    The conditions are those of :class:`fnopt.scale_by_hager_zhang_linesearch`, which explains the
    numbers. A loss or slope that is not finite counts as too high. Each turn of the loop is one
    evaluation, so that searches under ``vmap`` wait for the longest alone.

    Args:
        along: a function of a step that returns its point.
        step: the first step to try, above 0.
        origin: the point at step 0. Nothing is evaluated where its slope is not below 0.
        max_steps: largest number of evaluations.
        max_step: largest step; may be inf.
        delta, sigma, epsilon, theta, gamma, rho: numbers of the search, see there.

    Returns:
        The point, the number of evaluations, and the last step that was tried. The point satisfies
        the conditions; where none was found it is the lowest that was tried, the origin if none is
        lower.

    References:
        Hager & Zhang, *A new conjugate gradient method with guaranteed descent and an efficient
        line search*, SIAM Journal on Optimization 16, 2005, doi:10.1137/030601880, Section 4;
        *Algorithm 851: CG_DESCENT*, ACM TOMS 32, 2006, doi:10.1145/1132973.1132979, for the
        bracket.

    >>> import jax, jax.numpy as jnp
    >>> from fnopt.curvature.line import Point
    >>> def along(t):
    ...     value, slope = jax.value_and_grad(lambda t: (t - 3.0) ** 4)(t)
    ...     return Point(t, value, slope, slope)  # on a line the gradient is the slope
    >>> point, count, _ = hager_zhang(along, jnp.ones(()), along(jnp.zeros(())), sigma=0.1)
    >>> round(float(point.step), 3), int(count)
    (5.0, 2)
    """
    start_slope = origin.slope
    highest = origin.value + epsilon * jnp.abs(origin.value)

    def round_(s: _Search) -> _Search:
        new = along(s.trial)
        finite = jnp.isfinite(new.value) & jnp.isfinite(new.slope)
        low = new.value <= highest
        rises, falls = finite & (new.slope >= 0), finite & (new.slope < 0) & low
        wolfe = new.value <= origin.value + delta * new.step * start_slope
        wolfe |= low & (new.slope <= (2 * delta - 1) * start_slope)
        found = finite & wolfe & (new.slope >= sigma * start_slope)
        # A limit that the loss still falls towards is the best that can be had.
        bracketing = s.phase == _BRACKET
        stuck = bracketing & falls & (new.step >= max_step)

        end = _End(new.step, new.slope)
        left, right = _where(falls, end, s.left), _where(falls, s.right, end)
        halving = ~rises & (~falls | (s.phase == _HALVING))
        halved_in = jnp.where(s.phase == _HALVING, s.halved_in, s.phase)
        expanding = bracketing & falls

        # After the first secant another from the end that it has moved.
        after_first = (s.phase == _SECANT) & (rises | falls)
        second = jnp.where(rises, _secant(s.old_right, right), _secant(s.old_left, left))
        second_inside = after_first & _inside(second, left, right)
        round_over = (halved_in == _SECANT) | (halved_in == _SECOND)
        width, old_width = right.step - left.step, s.old_right.step - s.old_left.step
        too_wide = round_over & (width > gamma * old_width)
        first = _secant(left, right)
        begins = ~halving & ~expanding & ~second_inside & ~too_wide
        phase = jnp.where(begins & _inside(first, left, right), _SECANT, _MIDDLE)
        phase = jnp.where(second_inside, _SECOND, phase)
        phase = jnp.where(expanding, _BRACKET, jnp.where(halving, _HALVING, phase))
        share = jnp.where(phase == _HALVING, theta, 0.5)
        between = (1 - share) * left.step + share * right.step
        steps = [jnp.minimum(rho * new.step, max_step), first, second, between, between]
        trial = jnp.select([phase == i for i in range(5)], steps)

        stuck |= (phase != _BRACKET) & ~_inside(trial, left, right)
        better = found | (finite & (new.value < s.best.value))
        return _Search(
            trial=jnp.where(found | stuck, new.step, trial),
            phase=phase,
            halved_in=halved_in,
            left=left,
            right=right,
            old_left=_where(begins, left, s.old_left),
            old_right=_where(begins, right, s.old_right),
            best=_where(better, new, s.best),
            count=s.count + 1,
            found=found,
            stuck=stuck,
        )

    zero = jnp.zeros((), jnp.int32)
    begin = _End(origin.step, start_slope)
    search = _Search(
        trial=jnp.minimum(step, max_step).astype(origin.step.dtype),
        phase=zero + _BRACKET,
        halved_in=zero + _BRACKET,
        left=begin,
        right=begin,
        old_left=begin,
        old_right=begin,
        best=origin,
        count=zero,
        found=jnp.zeros((), bool),
        stuck=~((start_slope < 0) & jnp.isfinite(start_slope)),
    )
    search = jax.lax.while_loop(
        lambda s: ~(s.found | s.stuck) & (s.count < max_steps), round_, search
    )
    return search.best, search.count, search.trial


def _where(condition: jax.Array, xs: Any, ys: Any) -> Any:
    return jax.tree.map(lambda x, y: jnp.where(condition, x, y), xs, ys)


def _secant(a: _End, b: _End) -> jax.Array:
    """Where the slope would be 0 if it were linear; NaN if it is the same at both ends."""
    return a.step - a.slope * divide(b.step - a.step, b.slope - a.slope, jnp.nan)


def _inside(step: jax.Array, left: _End, right: _End) -> jax.Array:
    return (left.step < step) & (step < right.step)
