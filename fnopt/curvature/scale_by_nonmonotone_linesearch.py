"""The line search of Grippo, Lampariello and Lucidi."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp

from fnopt.core import Outcome
from fnopt.core.moments import cast
from fnopt.core.transform import at_count
from fnopt.core.types import OptState, Params, Updates
from fnopt.curvature.line import (
    Evaluations,
    Line,
    Point,
    Share,
    real_dtype,
)
from fnopt.curvature.search import Search


class ScaleByNonmonotoneLinesearchState(NamedTuple):
    """The state of :class:`scale_by_nonmonotone_linesearch`.

    Attributes:
        learning_rate: the step found; 0 where none was.
        values: the last losses before an update, the newest last; -inf before there are as many.
        value: the loss after the update.
        grad: the gradient after the update.
        num_linesearch_steps: number of evaluations of loss and gradient in the last update.
    """

    learning_rate: jax.Array
    values: jax.Array
    value: jax.Array
    grad: Updates
    num_linesearch_steps: jax.Array


class _Trial(NamedTuple):
    """The carry from one evaluation to the next."""

    next: jax.Array
    point: Point
    evaluations: jax.Array
    accepted: jax.Array


class scale_by_nonmonotone_linesearch(Search):
    r"""Multiplies by a step after which the loss is below the largest of the last losses.

    .. math::
        f(\theta_t + \lambda\,u_t) \le \max_{0 \le j < M} f(\theta_{t-j})
            + \gamma\,\lambda\,\langle g_t, u_t \rangle

    The step 1 is tried first. One that is refused shrinks to where a parabola through the losses at
    both ends is least, but to a tenth at least and to half at most; to half where the loss is not
    finite. With :math:`M = 1` it is backtracking with interpolation. Where no step is found the
    update is 0.

    ``update`` needs ``value_fn``, and computes ``value`` and ``grad`` where they are not passed.
    Each trial evaluates the gradient too, as the first is most often taken. The state is one times
    the parameters.

    Args:
        memory_size: number of losses compared with, :math:`M \ge 1`.
        slope_rtol: share of the slope by which the loss must fall, :math:`\gamma \in (0, 1)`.
        max_linesearch_steps: largest number of evaluations in one update, at least 1.

    When:
        Behind steps that are good on the whole though the loss rises now and then, as those of
        Barzilai and Borwein.

    References:
        Grippo, Lampariello & Lucidi, *A nonmonotone line search technique for Newton's method*,
        SIAM Journal on Numerical Analysis 23, 1986, doi:10.1137/0723046.

    >>> import fnopt, jax, jax.numpy as jnp
    >>> def loss(x):
    ...     return jnp.sum((x - 1.0) ** 2)
    >>> tx = fnopt.chain(fnopt.sgd(2.0), fnopt.scale_by_nonmonotone_linesearch())
    >>> x = jnp.zeros(2)
    >>> updates, state = tx.update(jax.grad(loss)(x), tx.init(x), x, value_fn=loss)
    >>> x + updates
    Array([1., 1.], dtype=float32)
    """

    memory_size: Evaluations = 10
    slope_rtol: Share = 1e-4
    max_linesearch_steps: Evaluations = 30

    family = "parts"
    State = ScaleByNonmonotoneLinesearchState
    elementwise = keeps_zero = alike = True

    def init(self, params: Params) -> ScaleByNonmonotoneLinesearchState:
        real = real_dtype(params)
        return ScaleByNonmonotoneLinesearchState(
            learning_rate=jnp.ones((), real),
            values=jnp.full(self.memory_size, -jnp.inf, real),
            value=jnp.asarray(jnp.inf, real),
            grad=jax.tree.map(jnp.zeros_like, params),
            num_linesearch_steps=jnp.zeros((), jnp.int32),
        )

    def search(self, line: Line, state: OptState) -> tuple[Point, OptState]:
        start, slope = line.origin.value, line.origin.slope
        values = jnp.roll(state.values, -1).at[-1].set(cast(start, state.values.dtype))
        largest = cast(jnp.max(values), line.dtype)
        # A loss that differs by its rounding alone has not risen.
        largest += 4 * jnp.finfo(line.dtype).eps * jnp.abs(start)
        decrease = at_count(self, None, line.dtype).slope_rtol * slope

        def try_next(trial: _Trial) -> _Trial:
            point = line.at(trial.next)
            step, finite = point.step, jnp.isfinite(point.value)
            least = -slope * step**2 / (2 * (point.value - start - step * slope))
            least = jnp.where(finite & jnp.isfinite(least), least, 0.5 * step)
            evaluations = trial.evaluations + 1
            accepted = finite & (point.value <= largest + step * decrease)
            return _Trial(jnp.clip(least, 0.1 * step, 0.5 * step), point, evaluations, accepted)

        def refused(trial: _Trial) -> jax.Array:
            return ~trial.accepted & (trial.evaluations < self.max_linesearch_steps) & (slope < 0)

        none = jnp.zeros((), jnp.int32)
        first = _Trial(jnp.ones((), line.dtype), line.origin, none, jnp.zeros((), bool))
        trial = jax.lax.while_loop(refused, try_next, first)
        point = jax.tree.map(lambda x, y: jnp.where(trial.accepted, x, y), trial.point, line.origin)
        new = self.State(
            point.step,
            values,
            point.value,
            line.params(point.grad),
            trial.evaluations + line.evaluated,
        )
        return point, new

    def outcome(self, state: OptState) -> Outcome:
        evaluated = state.num_linesearch_steps
        return Outcome(state.value, state.grad, evaluated, evaluated)
