"""The line search of optax for a sufficient decrease."""

from __future__ import annotations

from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import optax

from fnopt.core import Outcome, Static
from fnopt.core.transform import at_count
from fnopt.core.types import OptState, Params
from fnopt.curvature.line import (
    Evaluations,
    Growth,
    Line,
    Longest,
    Point,
    Share,
    Tolerance,
    like_state,
    real_dtype,
)
from fnopt.curvature.search import Search


class scale_by_backtracking_linesearch(Search):
    r"""Multiplies by a step that lowers the loss enough, made shorter until it does; as in optax.

    .. math::
        f(\theta + t\,u) \le (1 + \delta)\,f(\theta) + c\,t\,\langle u, \nabla f(\theta) \rangle +
        \epsilon

    The first step tried is that of the last update, made longer, but at most the largest.

    Steps are those of ``optax.scale_by_backtracking_linesearch``, which computes them. Where it
    finds none it takes the last, even if that raises the loss, and the step 0 for ever where the
    last loss was not finite; here the update is 0 in both cases, and the next search goes on from
    the last step. Where the loss stays the same up to rounding, the next search begins as this one
    did. Storage of half precision does not make the search less precise.

    ``update`` needs ``value_fn``, and computes ``value`` and ``grad`` where they are not passed.
    Transforms behind it should not change the direction.

    Args:
        max_backtracking_steps: how often the step is made shorter in one update, at least 1.
        slope_rtol: share of the slope by which the loss must fall, :math:`c \ge 0`.
        decrease_factor: factor of a step that is too long, in (0, 1).
        increase_factor: factor of the last step, at least 1; inf to begin with the largest.
        max_learning_rate: largest step, above 0.
        atol: what the loss may be higher by, :math:`\epsilon \ge 0`.
        rtol: the same relative to the loss, :math:`\delta \ge 0`.
        store_grad: whether the gradient after the update is computed, and stored with the loss, so
            that the next update need not; the state is then one times the parameters.
        verbose: whether optax prints why a search failed.

    When:
        The cheapest line search: it looks at the loss alone. Behind gradient descent on batches
        that the model can fit exactly (Vaswani et al.) or Newton's method. Behind
        :class:`scale_by_lbfgs` a search that looks at slopes is better.

    References:
        Armijo, *Minimization of functions having Lipschitz continuous first partial derivatives*,
        Pacific Journal of Mathematics 16, 1966; Vaswani et al., *Painless stochastic gradient*,
        NeurIPS 2019, arXiv:1905.09997.

    >>> import fnopt, jax, jax.numpy as jnp
    >>> def loss(x):
    ...     return jnp.sum(x**2)
    >>> tx = fnopt.chain(fnopt.sgd(1.0), fnopt.scale_by_backtracking_linesearch(15))
    >>> x = jnp.array([1.0, 2.0])
    >>> updates, state = tx.update(jax.grad(loss)(x), tx.init(x), x, value_fn=loss)
    >>> round(float(loss(x + updates)), 3)
    1.8
    """

    max_backtracking_steps: Evaluations
    slope_rtol: Tolerance = 1e-4
    decrease_factor: Share = 0.8
    increase_factor: Growth = 1.5
    max_learning_rate: Longest = 1.0
    atol: Tolerance = 0.0
    rtol: Tolerance = 0.0
    store_grad: Static[bool] = False
    verbose: Static[bool] = False

    family = "parts"
    State = optax.ScaleByBacktrackingLinesearchState
    elementwise = keeps_zero = alike = True
    example: ClassVar = {"max_backtracking_steps": 15}

    def init(self, params: Params) -> optax.ScaleByBacktrackingLinesearchState:
        first: Any = self._in_optax(self).init(jnp.zeros((), real_dtype(params)))
        grad = jax.tree.map(jnp.zeros_like, params) if self.store_grad else None
        return like_state(first, first)._replace(grad=grad)

    def search(self, line: Line, state: OptState) -> tuple[Point, OptState]:
        search, origin = at_count(self, None, line.dtype), line.origin
        begin = line.begin(state.learning_rate)
        stored = origin.grad if self.store_grad else None
        with jax.numpy_dtype_promotion("standard"):
            _, found = self._in_optax(search).update(
                line.direction,
                self.State(begin, origin.value, stored, state.info),
                line.start,
                value=origin.value,
                grad=origin.grad,
                value_fn=lambda position: line.value(position).astype(float),
            )
        count = found.info.num_linesearch_steps
        new_grad = found.grad if self.store_grad else origin.grad
        tried = Point(found.learning_rate, found.value, new_grad, origin.slope)
        point = line.accept(tried, origin.value + search.atol + search.rtol * origin.value)
        first = jnp.minimum(search.increase_factor * begin, search.max_learning_rate)
        last = first * search.decrease_factor ** (count - 1).astype(line.dtype)
        rate = jnp.where(point.step > 0, point.step, last)
        # Where rounding hides the decrease, steps would become shorter without end.
        rounding = 4 * jnp.finfo(line.dtype).eps * jnp.abs(origin.value)
        rate = jnp.where(jnp.abs(tried.value - origin.value) <= rounding, begin, rate)
        new = self.State(
            rate,
            point.value,
            line.params(point.grad) if self.store_grad else None,
            found.info._replace(num_linesearch_steps=count + line.evaluated),
        )
        return point, new

    @staticmethod
    def _in_optax(search: Any) -> Any:
        return optax.scale_by_backtracking_linesearch(**vars(search))

    def outcome(self, state: OptState) -> Outcome:
        counts = state.info.num_linesearch_steps, int(self.store_grad)
        return Outcome(state.value, state.grad, *counts)
