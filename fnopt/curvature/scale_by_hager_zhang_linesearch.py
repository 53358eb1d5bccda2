"""The line search of Hager and Zhang."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from fnopt.core.transform import at_count
from fnopt.core.types import OptState, Params
from fnopt.curvature.hager_zhang import (
    HagerZhangLinesearchInfo,
    ScaleByHagerZhangLinesearchState,
    hager_zhang,
)
from fnopt.curvature.line import (
    Evaluations,
    Growth,
    Guess,
    Largest,
    Line,
    Point,
    Share,
    Tolerance,
    real_dtype,
)
from fnopt.curvature.search import Search


class scale_by_hager_zhang_linesearch(Search):
    r"""Multiplies by the step of Hager and Zhang's line search, which rounding does not stop.

    With :math:`\varphi(t) = f(\theta + t\,u)` the step satisfies the Wolfe conditions

    .. math::
        \varphi(t) \le \varphi(0) + \delta\,t\,\varphi'(0), \qquad
        \varphi'(t) \ge \sigma\,\varphi'(0)

    or, near a minimum, where rounding hides a decrease of the loss, the approximate ones

    .. math::
        (2 \delta - 1)\,\varphi'(0) \ge \varphi'(t) \ge \sigma\,\varphi'(0), \qquad
        \varphi(t) \le \varphi(0) + \epsilon\,\lvert \varphi(0) \rvert

    A bracket of such a step is found by making the first step longer or halving it, and shortened
    by two secants a round, or by its middle where that is not enough. A trial whose loss or slope
    is not finite counts as too long.

    Where no step is found the update leads to the lowest point that was tried, and is 0 if that is
    no lower than the parameters, or if the updates are no direction of descent. The next search
    begins, if it keeps its step, where this one has ended.

    ``update`` needs ``value_fn``, and computes ``value`` and ``grad`` where they are not passed.
    Transforms behind it should not change the direction. The state is one times the parameters.

    Args:
        max_linesearch_steps: largest number of evaluations in one update, at least 1.
        max_learning_rate: largest step, above 0; None for no limit.
        delta: share of the slope by which the loss must fall, :math:`\delta \in (0, 1/2)`.
        sigma: share of the slope that may be left, :math:`\sigma \in (\delta, 1)`.
        epsilon: error of the loss relative to it, :math:`\epsilon \ge 0`.
        theta: where the bracket is cut while its right end is too high, in (0, 1).
        gamma: share to which a round must shorten the bracket, in (0, 1).
        rho: factor of the step while the loss falls, above 1.
        initial_guess_strategy: the first step that is tried: ``"keep"`` for that of the last
            update, ``"one"`` for 1, which suits the directions of Newton's method and its kin.

    When:
        Behind any direction of descent, on a loss without noise. It is more robust than the zoom of
        optax near a minimum, and compiles faster: one evaluation is in the program, not two.

    References:
        Hager & Zhang, *A new conjugate gradient method with guaranteed descent and an efficient
        line search*, SIAM Journal on Optimization 16, 2005, doi:10.1137/030601880, Section 4;
        *Algorithm 851: CG_DESCENT*, ACM TOMS 32, 2006, doi:10.1145/1132973.1132979.

    >>> import fnopt, jax, jax.numpy as jnp
    >>> def loss(x):
    ...     return jnp.sum((x - 1.0) ** 2)
    >>> tx = fnopt.chain(fnopt.sgd(1.0), fnopt.scale_by_hager_zhang_linesearch())
    >>> x = jnp.zeros(2)
    >>> updates, state = tx.update(jax.grad(loss)(x), tx.init(x), x, value_fn=loss)
    >>> x + updates
    Array([1., 1.], dtype=float32)
    """

    max_linesearch_steps: Evaluations = 30
    max_learning_rate: Largest = None
    delta: Share = 0.1
    sigma: Share = 0.9
    epsilon: Tolerance = 1e-6
    theta: Share = 0.5
    gamma: Share = 0.66
    rho: Growth = 5.0
    initial_guess_strategy: Guess = "keep"

    family = "parts"
    State = ScaleByHagerZhangLinesearchState
    elementwise = keeps_zero = alike = True

    def init(self, params: Params) -> ScaleByHagerZhangLinesearchState:
        real = real_dtype(params)
        infinite = jnp.asarray(jnp.inf, real)
        return ScaleByHagerZhangLinesearchState(
            learning_rate=jnp.ones((), real),
            value=infinite,
            grad=jax.tree.map(jnp.zeros_like, params),
            info=HagerZhangLinesearchInfo(jnp.zeros((), jnp.int32), infinite, infinite),
        )

    def search(self, line: Line, state: OptState) -> tuple[Point, OptState]:
        search = at_count(self, None, line.dtype)
        keeps = self.initial_guess_strategy == "keep"
        limit = jnp.inf if self.max_learning_rate is None else search.max_learning_rate
        point, count, last = hager_zhang(
            line.at,
            line.begin(state.learning_rate if keeps else 1.0),
            line.origin,
            max_steps=self.max_linesearch_steps,
            max_step=jnp.asarray(limit, line.dtype),
            delta=search.delta,
            sigma=search.sigma,
            epsilon=search.epsilon,
            theta=search.theta,
            gamma=search.gamma,
            rho=search.rho,
        )
        new = self.State(
            jnp.where(point.step > 0, point.step, last),
            point.value,
            line.params(point.grad),
            HagerZhangLinesearchInfo(count + line.evaluated, *search._errors(line, point)),
        )
        return point, new

    def _errors(self, line: Line, point: Point) -> tuple[jax.Array, ...]:
        """By how much the conditions are violated."""
        value, slope = line.origin.value, line.origin.slope
        approximate = jnp.maximum(
            point.slope - (2 * self.delta - 1) * slope,
            point.value - value - self.epsilon * jnp.abs(value),
        )
        decrease = point.value - value - self.delta * point.step * slope
        curvature = self.sigma * slope - point.slope
        errors = jnp.minimum(decrease, approximate), curvature
        return tuple(jnp.where(jnp.isnan(e), jnp.inf, jnp.maximum(e, 0)) for e in errors)
