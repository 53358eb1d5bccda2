"""Updates from several batches: gradients are accumulated for one step."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

import jax
import jax.numpy as jnp
import optax

from fnopt.core import DType, Inner, Static, Transform, Wrapper, computing_dtype, zeros
from fnopt.core.checks import Interval
from fnopt.core.ranges import Scheduled
from fnopt.core.schedule import is_schedule
from fnopt.core.transform import foreign
from fnopt.core.types import OptState, Params, Updates
from fnopt.wrap.branch import gathered, like, zeros_like

Every = Annotated[Any, Scheduled(Interval("[1, inf)"))]


class MultiSteps(Wrapper):
    r"""Gathers the gradients of :math:`k` batches and makes one step of their mean.

    .. math:: \bar g_n = \bar g_{n-1} + (g_n - \bar g_{n-1}) / n, \qquad n = 1, \dots, k

    Until the last of them updates are zero and the optimizer is not called, its state and
    schedules stay. There is one accumulator, which is overwritten in place where the state is
    donated.

    Args:
        opt: the optimizer.
        every_k_schedule: :math:`k \ge 1`, rounded: a number, or a function of the number of steps
            so far.
        use_grad_mean: take the mean of the gradients; False for their sum.
        should_skip_update_fn: a function ``f(updates, gradient_step, params)`` that returns a flag,
            whether to leave this batch out, and a tree, which the state holds as ``skip_state``;
            :func:`skip_not_finite`, for one. As it may depend on any gradient, all are then
            computed, those of frozen leaves too.
        accumulator_dtype: dtype of the accumulator; single precision at least if None, where
            optax's None means the parameters' dtype.

    When:
        A batch that does not fit into memory. ``value_fn`` and ``grad_fn`` are those of the last
        part: a transform that computes its gradient by them (:class:`sam`, opaque) steps by that
        part alone.
        It keeps a sum as large as the parameters; a loop over the parts of a batch within one step
        keeps it only for that step.

    >>> import fnopt, jax.numpy as jnp
    >>> tx = fnopt.MultiSteps(fnopt.sgd(1.0), every_k_schedule=2)
    >>> state = tx.init(jnp.zeros(()))
    >>> for gradient in (1.0, 2.0):
    ...     update, state = tx.update(jnp.array(gradient), state)
    ...     print(update, tx.has_updated(state))
    0.0 False
    -1.5 True
    """

    opt: Inner
    every_k_schedule: Every
    use_grad_mean: Static[bool] = True
    should_skip_update_fn: Static[Callable[..., Any] | None] = None
    accumulator_dtype: DType = None

    State = optax.MultiStepsState
    inner_state = "inner_opt_state"

    @property
    def leafwise(self) -> bool:
        # A function of all gradients that decides about a batch may depend on any of them.
        return self.should_skip_update_fn is None

    @property
    def elementwise(self) -> bool:
        return self.should_skip_update_fn is None

    @property
    def alike(self) -> bool:
        return self.should_skip_update_fn is None

    @property
    def inner_opt(self) -> Transform:
        """The optimizer, by optax's name."""
        return self.opt

    def init(self, params: Params) -> OptState:
        step = jnp.zeros((), jnp.int32)
        return self.State(
            mini_step=step,
            gradient_step=jnp.zeros_like(step),
            inner_opt_state=self.opt.init(params),
            acc_grads=jax.tree.map(self._accumulator, params),
            skip_state=self._skip(zeros_like(params), step, params)[1],
        )

    def update(
        self, updates: Updates, state: OptState, params: Params = None, **extra_args: Any
    ) -> tuple[Updates, OptState]:
        inner_state = self.check(state)
        skip, skip_state = self._skip(updates, state.gradient_step, params)
        batches = state.mini_step + 1
        share = 1 / batches.astype(jnp.result_type(float)) if self.use_grad_mean else None

        def wait(total: Any) -> Any:
            return zeros_like(updates), inner_state, like(total, state.acc_grads)

        def act(total: Any) -> Any:
            if isinstance(self.opt, foreign):
                total = like(total, updates)
            new, new_state = self.opt.update(total, inner_state, params, **extra_args)
            return like(new, updates), like(new_state, inner_state), zeros_like(state.acc_grads)

        def gather() -> Any:
            total = gathered(updates, state.acc_grads, params, share)
            return jax.lax.cond(full, act, wait, total)

        def leave_out() -> Any:
            return zeros_like(updates), inner_state, state.acc_grads

        full = batches >= self._batches(state.gradient_step)
        if self.should_skip_update_fn is None:
            updates, inner_state, total = gather()
        else:
            updates, inner_state, total = jax.lax.cond(skip, leave_out, gather)
        taken = ~skip
        return updates, self.State(
            mini_step=jnp.where(taken, jnp.where(full, 0, batches), state.mini_step),
            gradient_step=jnp.where(
                taken & full, optax.safe_increment(state.gradient_step), state.gradient_step
            ),
            inner_opt_state=inner_state,
            acc_grads=total,
            skip_state=skip_state,
        )

    def has_updated(self, state: OptState) -> jax.Array:
        """Whether the update that returned this state completed a step."""
        return (state.mini_step == 0) & (state.gradient_step > 0)

    def gradient_transformation(self) -> Transform:
        """This transform itself; optax's class returns its transform here."""
        return self

    def count(self, state: OptState) -> jax.Array:
        return state.gradient_step

    def _batches(self, step: jax.Array) -> jax.Array:
        k = self.every_k_schedule
        return jnp.round(jnp.asarray(k(step) if is_schedule(k) else k)).astype(jnp.int32)

    def _accumulator(self, param: Any) -> jax.Array:
        param = jnp.asarray(param)
        return zeros(param, self.accumulator_dtype or computing_dtype(param.dtype))

    def _skip(self, updates: Updates, step: jax.Array, params: Params) -> tuple[jax.Array, Any]:
        if self.should_skip_update_fn is None:
            return jnp.zeros((), bool), ()
        skip, skip_state = self.should_skip_update_fn(updates, step, params)
        if jnp.shape(skip) or not jnp.issubdtype(jnp.result_type(skip), jnp.bool_):
            raise ValueError(f"MultiSteps: should_skip_update_fn must return a flag, got {skip!r}")
        return jnp.asarray(skip), skip_state
