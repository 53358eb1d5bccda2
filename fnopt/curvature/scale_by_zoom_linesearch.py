"""The line search of optax for the strong Wolfe conditions."""

from __future__ import annotations

from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import optax

from fnopt.core import Static
from fnopt.core.transform import at_count
from fnopt.core.types import OptState, Params
from fnopt.curvature.line import (
    Evaluations,
    Growth,
    Guess,
    Largest,
    Line,
    Point,
    Tolerance,
    ToleranceOrInf,
    ToleranceOrNone,
    like_state,
    real_dtype,
)
from fnopt.curvature.search import Search


class scale_by_zoom_linesearch(Search):
    r"""Multiplies by a step that satisfies the strong Wolfe conditions, found as in optax.

    .. math::
        f(\theta + t\,u) \le f(\theta) + c_1\,t\,\langle u, \nabla f(\theta) \rangle + \tau, \qquad
        \lvert \langle u, \nabla f(\theta + t\,u) \rangle \rvert \le
        c_2\,\lvert \langle u, \nabla f(\theta) \rangle \rvert + \tau

    The step grows until it brackets such a step, and cubic interpolation shortens the bracket.
    Where the loss is within :math:`c_3\,\lvert f(\theta) \rvert` of the first, the approximate
    condition of Hager and Zhang may stand for the first one.

    Steps are those of ``optax.scale_by_zoom_linesearch``, which computes them. Where it finds none
    that lowers the loss it takes one that raises it, if the loss is finite there; here the update
    is then 0, and the next search begins, if it keeps its step, with one that is halved for each
    evaluation of this. Storage of half precision does not make the search less precise.

    ``update`` needs ``value_fn``, and computes ``value`` and ``grad`` where they are not passed.
    Transforms behind it should not change the direction. The state is one times the parameters.

    Args:
        max_linesearch_steps: largest number of evaluations in one update, at least 1.
        max_learning_rate: largest step, above 0; None for no limit.
        tol: tolerance of both conditions, :math:`\tau \ge 0`.
        increase_factor: factor of the step until it is bracketed, at least 1.
        slope_rtol: share of the slope by which the loss must fall, :math:`c_1 \ge 0`.
        curv_rtol: share of the slope that may be left, :math:`c_2 \ge 0`; inf for a search that
            looks at the loss alone.
        approx_dec_rtol: error of the loss relative to it, :math:`c_3 \ge 0`; None to keep to the
            first condition.
        stepsize_precision: length of the bracket at which a step that lowers the loss is enough.
        initial_guess_strategy: the first step that is tried: ``"keep"`` for that of the last
            update, ``"one"`` for 1, which suits the directions of Newton's method and its kin.
        verbose: whether optax prints why a search failed.

    When:
        Behind a direction of descent, on a loss without noise, where steps are to be those of
        optax. Under ``vmap`` it evaluates twice as often as
        :class:`scale_by_hager_zhang_linesearch`.

    References:
        Nocedal & Wright, *Numerical optimization*, 2nd edition, 2006, Algorithms 3.5 and 3.6; Hager
        & Zhang, *Algorithm 851: CG_DESCENT*, ACM TOMS 32, 2006, doi:10.1145/1132973.1132979.

    >>> import fnopt, jax, jax.numpy as jnp
    >>> def loss(x):
    ...     return jnp.sum((x - 1.0) ** 2)
    >>> tx = fnopt.chain(fnopt.sgd(1.0), fnopt.scale_by_zoom_linesearch(15))
    >>> x = jnp.zeros(2)
    >>> updates, state = tx.update(jax.grad(loss)(x), tx.init(x), x, value_fn=loss)
    >>> x + updates
    Array([1., 1.], dtype=float32)
    """

    max_linesearch_steps: Evaluations
    max_learning_rate: Largest = None
    tol: Tolerance = 0.0
    increase_factor: Growth = 2.0
    slope_rtol: Tolerance = 1e-4
    curv_rtol: ToleranceOrInf = 0.9
    approx_dec_rtol: ToleranceOrNone = 1e-6
    stepsize_precision: Tolerance = 1e-5
    initial_guess_strategy: Guess = "keep"
    verbose: Static[bool] = False

    family = "parts"
    State = optax.ScaleByZoomLinesearchState
    elementwise = keeps_zero = alike = True
    example: ClassVar = {"max_linesearch_steps": 15}

    def init(self, params: Params) -> optax.ScaleByZoomLinesearchState:
        first: Any = self._in_optax(self).init(jnp.zeros((), real_dtype(params)))
        return like_state(first, first)._replace(grad=jax.tree.map(jnp.zeros_like, params))

    def search(self, line: Line, state: OptState) -> tuple[Point, OptState]:
        search, origin = at_count(self, None, line.dtype), line.origin
        begin = line.begin(state.learning_rate)
        with jax.numpy_dtype_promotion("standard"):
            _, found = self._in_optax(search).update(
                line.direction,
                self.State(begin, origin.value, origin.grad, state.info),
                line.start,
                value=origin.value,
                grad=origin.grad,
                value_fn=line.for_optax(),
            )
        count, highest = found.info.num_linesearch_steps, origin.value + search.tol
        if self.approx_dec_rtol is not None:
            highest += search.approx_dec_rtol * jnp.abs(origin.value)
        point = Point(found.learning_rate, found.value, found.grad, origin.slope)
        point = line.accept(point, highest)
        begin = begin if self.initial_guess_strategy == "keep" else jnp.ones_like(begin)
        halved = begin * jnp.exp2(-count.astype(line.dtype))
        new = self.State(
            jnp.where(point.step > 0, point.step, halved),
            point.value,
            line.params(point.grad),
            found.info._replace(num_linesearch_steps=count + line.evaluated),
        )
        return point, new

    @staticmethod
    def _in_optax(search: Any) -> Any:
        return optax.scale_by_zoom_linesearch(**vars(search))
