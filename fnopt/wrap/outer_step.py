"""An outer step every few inner ones, as in DiLoCo."""

from __future__ import annotations

import dataclasses
import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from fnopt.core import Inner, Transform, Wrapper, chain, computing_dtype, trace
from fnopt.core import scale_by_learning_rate as by_rate
from fnopt.core.checks import updates_and_params
from fnopt.core.moments import cast
from fnopt.core.plan import LeafPlan
from fnopt.core.ranges import PositiveInteger
from fnopt.core.transform import any_evaluates, foreign
from fnopt.core.types import OptState, Params, PyTree, Updates
from fnopt.wrap.branch import like


class OuterStepState(NamedTuple):
    """The state of :class:`outer_step`.

    Attributes:
        inner_state, outer_state: those of the two optimizers.
        steps_since_sync: inner steps since the last outer one.
        slow: the parameters after the last outer step.
    """

    inner_state: Any
    outer_state: Any
    steps_since_sync: jax.Array
    slow: Any


class outer_step(Wrapper):
    r"""After every few steps of an optimizer, one of an outer optimizer in their direction.

    .. math::
        \theta_t = \theta_{t-1} + u_t, \quad\text{and after every } H\text{-th step}\quad
        \Delta = \phi - \theta_t, \quad \phi \leftarrow \phi + \text{outer}(\Delta), \quad
        \theta_t \leftarrow \phi

    The slow parameters :math:`\phi` are in the state, and are those to evaluate. The outer
    optimizer takes :math:`\Delta` for the gradient at :math:`\phi`, and counts its own steps;
    ``scale(-alpha)`` makes :class:`lookahead`. DiLoCo has the mean :math:`\Delta` of several
    workers, here it is that of one. The updates must be applied as they are.

    Args:
        inner: the inner optimizer; its state goes on across outer steps.
        sync_period: inner steps for one outer step, :math:`H \ge 1`; 500 in DiLoCo.
        outer: the outer optimizer; if None DiLoCo's,
            ``chain(trace(0.9, nesterov=True), scale_by_learning_rate(0.7))``.

    Raises:
        TypeError: ``sync_period`` is no integer, or an optimizer is no transform.
        ValueError: ``sync_period`` is below 1.

    When:
        Long trainings, as :class:`lookahead` with momentum; less of it (0.5) with Muon inside.
        :class:`primal_averaging` does the like at every step.

    References:
        Douillard et al., *DiLoCo: distributed low-communication training of language models*,
        2023, arXiv:2311.08105, Algorithm 1; Thérien, Huang, Defazio, Rish & Belilovsky, *MuLoCo:
        Muon is a practical inner optimizer for DiLoCo*, 2025, arXiv:2505.23725.

    >>> import fnopt, jax.numpy as jnp
    >>> tx = fnopt.outer_step(fnopt.sgd(1.0), 2, outer=fnopt.sgd(0.5))
    >>> params = jnp.zeros(())
    >>> state = tx.init(params)
    >>> for _ in range(2):
    ...     update, state = tx.update(jnp.array(-1.0), state, params)
    ...     params = params + update
    ...     print(params)
    1.0
    1.0
    """

    inner: Inner
    sync_period: PositiveInteger = 30
    outer: Inner = None

    State = OuterStepState

    @property
    def outer_optimizer(self) -> Transform:
        """The outer optimizer, DiLoCo's where none was given."""
        if self.outer is not None:
            return self.outer
        return chain(trace(0.9, nesterov=True), by_rate(0.7))

    @property
    def evaluates(self) -> bool | None:
        return any_evaluates((self.inner, self.outer_optimizer))

    def plan(self, params: Params) -> PyTree:
        def both(step: LeafPlan, outer: LeafPlan) -> LeafPlan:
            rests = outer.keeps_zero
            return dataclasses.replace(
                step.then(outer), frozen=step.frozen and rests, keeps_zero=step.keeps_zero and rests
            )

        return jax.tree.map(both, self.inner.plan(params), self.outer_optimizer.plan(params))

    def init(self, params: Params) -> OuterStepState:
        return OuterStepState(
            inner_state=self.inner.init(params),
            outer_state=self.outer_optimizer.init(params),
            steps_since_sync=jnp.zeros((), jnp.int32),
            slow=jax.tree.map(jnp.array, params),
        )

    def update(
        self, updates: Updates, state: OptState, params: Params = None, **extra_args: Any
    ) -> tuple[Updates, OuterStepState]:
        inner_state = self.check(state)
        updates, params = updates_and_params(self, updates, params)
        steps, inner_state = self.inner.update(updates, inner_state, params, **extra_args)
        steps = like(steps, updates)

        def sync() -> tuple[Any, Any, Any]:
            return self._sync(steps, state, params, extra_args)

        now = state.steps_since_sync == self.sync_period - 1
        moves, outer_state, slow = jax.lax.cond(
            now, sync, lambda: (steps, state.outer_state, state.slow)
        )
        since = jnp.where(now, 0, state.steps_since_sync + 1)
        return moves, OuterStepState(inner_state, outer_state, since, slow)

    def eval_params(self, state: OptState, params: Params) -> Params:
        """The slow parameters."""
        return state.slow

    def _sync(
        self, steps: Updates, state: Any, params: Params, extra_args: dict[str, Any]
    ) -> tuple[Any, Any, Any]:
        """The updates of an outer step, its state and the slow parameters after it."""

        def back(slow: jax.Array, start: jax.Array, step: jax.Array) -> jax.Array:
            wide = computing_dtype(start.dtype, step.dtype)
            return cast(jnp.asarray(slow), wide) - (cast(start, wide) + cast(step, wide))

        def total(*parts: jax.Array) -> jax.Array:
            with jax.numpy_dtype_promotion("standard"):
                return functools.reduce(jnp.add, parts)

        gaps = jax.tree.map(back, state.slow, params, steps)
        outer = self.outer_optimizer
        pseudo = like(gaps, state.slow) if isinstance(outer, foreign) else gaps
        moves, outer_state = outer.update(pseudo, state.outer_state, state.slow, **extra_args)
        # Back to the slow parameters, and on from there.
        jumps = jax.tree.map(total, steps, gaps, moves)
        slow = jax.tree.map(total, state.slow, moves)
        return like(jumps, steps), like(outer_state, state.outer_state), like(slow, state.slow)
