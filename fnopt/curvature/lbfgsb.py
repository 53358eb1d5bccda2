"""L-BFGS-B."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from fnopt.core import Outcome, Rate, Transform, evaluation_of, real_zeros, required
from fnopt.core.checks import leaves_like, refuse_state, updates_and_params
from fnopt.core.moments import cast
from fnopt.core.transform import at_count
from fnopt.core.types import OptState, Params, Updates
from fnopt.curvature.bounds import Bounds, box_of, moves_within
from fnopt.curvature.box_step import box_step
from fnopt.curvature.compact import Pairs, no_pairs
from fnopt.curvature.line import Evaluations, Share
from fnopt.curvature.vectors import ravel, unravel


class LBFGSBState(NamedTuple):
    """The state of :class:`lbfgsb`.

    Attributes:
        count: number of updates.
        number_of_pairs: number of rows of the memory that are in use, the last ones.
        diff_params_memory: the last steps, one a row, all parameters as one vector.
        diff_updates_memory: the differences of gradients over them, likewise; a pair is divided by
            the root of its inner product.
        value: the loss at the parameters after the last update.
        grad: the gradient there.
        evaluations: number of evaluations of loss and gradient in the last update.
    """

    count: jax.Array
    number_of_pairs: jax.Array
    diff_params_memory: jax.Array
    diff_updates_memory: jax.Array
    value: jax.Array
    grad: Updates
    evaluations: jax.Array


class lbfgsb(Transform):
    r"""L-BFGS-B: a limited-memory quasi-Newton method for parameters between bounds.

    .. math::
        m_k(x) &= \langle g_k, x - x_k \rangle + \tfrac{1}{2} (x - x_k)^\top B_k\,(x - x_k),
        \qquad B_k = \theta I - W M W^\top \\
        x^c &: \text{ the first local minimum of } m_k \text{ on } t \mapsto P(x_k - t\,g_k) \\
        \bar x &= P \bigl(\arg\min_x \{ m_k(x) : x_i = x^c_i \text{ where a bound holds } x^c_i \}
            \bigr) \\
        x_{k+1} &= x_k + t_k\,(\bar x - x_k)

    with :math:`P` the projection on the box, the last :math:`m` pairs of steps and differences of
    gradients in :math:`W` and :math:`M`, and :math:`t_k` from the line search of Moré and Thuente.
    The step 1 is tried first, and at the first update one of length 1 unless all is bounded.

    One ``update`` is one iteration: it receives the gradient as ``updates``, the loss as ``value``
    (which is evaluated if missing), and the functions. Parameters stay between the bounds, to the
    last bit; a start outside of them is projected first. Where no step lowers the loss, the memory
    is emptied, and where that does not help the update is 0. A pair without positive curvature is
    not stored. Its loops have no reverse-mode derivative.

    The state is :math:`2\,m + 1` times the parameters, in single precision at least, and one update
    costs :math:`O(m^2 n + n \log n)` besides its evaluations, most often a single one.

    Args:
        learning_rate: first step that the line search tries, times the usual one.
        lower: smallest values: a number for all parameters, or a tree like them; no bound where it
            is None or -inf.
        upper: largest values, likewise, with inf.
        memory_size: number of stored pairs, :math:`m \ge 1`.
        slope_rtol: share of the slope by which the loss must fall, in (0, 1).
        curv_rtol: share of the slope that may be left, in (0, 1).
        max_linesearch_steps: largest number of evaluations in a line search, at least 1.

    Raises:
        ValueError: a lower bound is above the upper one; in ``update``, parameters or ``value_fn``
            are missing.
        TypeError: a parameter is complex.

    When:
        Parameters lie between bounds and the loss is smooth and has no noise: full batches, fits of
        models to data, rates and variances that are not negative. Not with batches that change.

    References:
        Byrd, Lu, Nocedal & Zhu, *A limited memory algorithm for bound constrained optimization*,
        SIAM Journal on Scientific Computing 16, 1995, doi:10.1137/0916069; Morales & Nocedal,
        *Remark on "Algorithm 778: L-BFGS-B"*, ACM Transactions on Mathematical Software 38, 2011,
        doi:10.1145/2049662.2049669.

    >>> import fnopt, jax, jax.numpy as jnp, optax
    >>> def rosenbrock(x):
    ...     return (1 - x[0]) ** 2 + 100 * (x[1] - x[0] ** 2) ** 2
    >>> tx = fnopt.lbfgsb(upper=jnp.array([0.5, jnp.inf]))
    >>> @jax.jit
    ... def step(x, state):
    ...     value, grad = jax.value_and_grad(rosenbrock)(x)
    ...     updates, state = tx.update(grad, state, x, value=value, value_fn=rosenbrock)
    ...     return optax.apply_updates(x, updates), state
    >>> x = jnp.array([-1.2, 1.0])
    >>> state = tx.init(x)
    >>> for _ in range(25):
    ...     x, state = step(x, state)
    >>> print(x.round(3))
    [0.5  0.25]
    """

    learning_rate: Rate = 1.0
    lower: Bounds = None
    upper: Bounds = None
    memory_size: Evaluations = 10
    slope_rtol: Share = 1e-3
    curv_rtol: Share = 0.9
    max_linesearch_steps: Evaluations = 20
    family = "curvature"

    State = LBFGSBState

    @property
    def elementwise(self) -> bool:  # pyright: ignore[reportIncompatibleVariableOverride]
        # Bounds that are a tree are each leaf's own.
        return all(jnp.ndim(x) == 0 for x in jax.tree.leaves((self.lower, self.upper)))

    @property
    def alike(self) -> bool:  # pyright: ignore[reportIncompatibleVariableOverride]
        return self.elementwise

    @property
    def keeps_zero(self) -> bool:  # pyright: ignore[reportIncompatibleVariableOverride]
        # A start outside of the box moves without a gradient.
        return self.lower is None and self.upper is None

    @property
    def evaluates(self) -> bool | None:
        return True

    def init(self, params: Params) -> LBFGSBState:
        box_of("lbfgsb", self.lower, self.upper, params)
        grad = jax.tree.map(lambda p: real_zeros(jnp.asarray(p)), params)
        vector = ravel(jax.tree.leaves(grad))
        memory = no_pairs(self.memory_size, vector.size, vector.dtype)
        zero = jnp.zeros((), jnp.int32)
        return LBFGSBState(zero, *memory, jnp.zeros((), vector.dtype), grad, zero)

    def count(self, state: OptState) -> jax.Array:
        return state.count

    def outcome(self, state: OptState) -> Outcome:
        return Outcome(state.value, state.grad, state.evaluations, state.evaluations)

    def update(
        self,
        updates: Updates,
        state: OptState,
        params: Params = None,
        *,
        value: Any = None,
        **extra_args: Any,
    ) -> tuple[Updates, LBFGSBState]:
        if getattr(state, "_fields", None) != LBFGSBState._fields:
            refuse_state(self, state)
        value_and_grad = required(self, "value_fn", evaluation_of(extra_args).value_and_grad)
        updates, params = updates_and_params(self, updates, params)
        grads, treedef = jax.tree.flatten(updates)
        params = jax.tree.leaves(params)
        slots = leaves_like(treedef, "state.grad", state.grad, "updates")
        start, dtype = ravel(params), state.diff_params_memory.dtype
        count: Any = optax.safe_increment(state.count)
        if not start.size:
            return updates, state._replace(count=count)
        box = box_of("lbfgsb", self.lower, self.upper, treedef.unflatten(params))
        low, high = map(ravel, box)

        def evaluate(position: jax.Array) -> tuple[jax.Array, jax.Array]:
            value, grad = value_and_grad(treedef.unflatten(unravel(position, params)))
            return cast(jnp.asarray(value), dtype), cast(ravel(treedef.flatten_up_to(grad)), dtype)

        position, grad = jnp.clip(start, low, high), cast(ravel(grads), dtype)
        known = jnp.asarray(value is not None) & jnp.all(position == start)
        value = cast(jnp.asarray(0.0 if value is None else value), dtype)
        value, grad = jax.lax.cond(known, lambda: (value, grad), lambda: evaluate(position))
        rule = at_count(self, state.count, dtype)
        step = box_step(
            evaluate,
            position,
            value,
            grad,
            (low, high),
            Pairs(state.number_of_pairs, state.diff_params_memory, state.diff_updates_memory),
            is_first=state.count == 0,
            learning_rate=rule.learning_rate,
            slope_rtol=rule.slope_rtol,
            curv_rtol=rule.curv_rtol,
            max_linesearch_steps=self.max_linesearch_steps,
        )
        moves = unravel(step.position - start, slots)
        evaluations = step.evaluations + (~known).astype(jnp.int32)
        grad = treedef.unflatten(unravel(step.grad, slots))
        after = LBFGSBState(count, *step.pairs, step.value, grad, evaluations)
        return treedef.unflatten(moves_within(params, moves, grads, box)), after
