"""Updates under a condition: a function of the count."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax

from fnopt.core import Inner, Static, Wrapper
from fnopt.core.types import OptState, Params, PyTree, Updates
from fnopt.wrap.branch import like, update_or, zeros_like


class conditionally_transform(Wrapper):
    """Calls the inner transform where a condition holds; else updates and its state stay.

    Args:
        inner: the transform.
        should_transform_fn: a function of the count of calls so far, an int32 array, that returns
            a flag.
        forward_extra_args: call the function with the extra arguments too. As it may then depend
            on any gradient, all are computed, those of frozen leaves too.

    When:
        A transform that is for some steps only, as noise or clipping in the first thousand. What
        would step along raw gradients otherwise: use :class:`conditionally_mask`.
    """

    inner: Inner
    should_transform_fn: Static[Callable[..., Any]]
    forward_extra_args: Static[bool] = False

    State = optax.ConditionallyTransformState

    @property
    def leafwise(self) -> bool:
        # A function that is called with the extra arguments may depend on any gradient.
        return not self.forward_extra_args

    @property
    def elementwise(self) -> bool:
        return not self.forward_extra_args

    @property
    def alike(self) -> bool:
        return not self.forward_extra_args

    def plan(self, params: Params) -> PyTree:
        # Where the condition does not hold, gradients pass as they are.
        plans = super().plan(params)
        return jax.tree.map(lambda plan: dataclasses.replace(plan, frozen=False), plans)

    def init(self, params: Params) -> OptState:
        return self.State(inner_state=self.inner.init(params), step=jnp.zeros((), jnp.int32))

    def update(
        self, updates: Updates, state: OptState, params: Params = None, **extra_args: Any
    ) -> tuple[Updates, OptState]:
        arguments = extra_args if self.forward_extra_args else {}
        inner_state = self.check(state)
        condition = self.should_transform_fn(state.step, **arguments)
        updates, inner_state = update_or(
            condition, self.inner, updates, inner_state, params, extra_args, self.otherwise
        )
        step = optax.safe_increment(state.step)
        return updates, self.State(inner_state=inner_state, step=step)

    def otherwise(self, updates: Updates) -> Any:
        """The updates where the condition does not hold."""
        return like(updates, updates)


class conditionally_mask(conditionally_transform):
    """Calls the inner transform where a condition holds; else there is no update.

    Args:
        inner: the optimizer; its state stays where the condition does not hold.
        should_transform_fn: a function of the count of calls so far, an int32 array, that returns
            a flag.
        forward_extra_args: call the function with the extra arguments too, such as ``value``; then
            all gradients are computed, those of frozen leaves too.

    When:
        Steps only at some times, or only where the loss says so; batches are lost in between, of
        which :class:`MultiSteps` makes use.

    >>> import fnopt, jax.numpy as jnp
    >>> tx = fnopt.conditionally_mask(fnopt.sgd(1.0), lambda count: count % 2 == 1)
    >>> state = tx.init(jnp.zeros(()))
    >>> for _ in range(2):
    ...     update, state = tx.update(jnp.ones(()), state)
    ...     print(update)
    0.0
    -1.0
    """

    State = optax.ConditionallyMaskState

    def plan(self, params: Params) -> PyTree:
        return Wrapper.plan(self, params)

    def otherwise(self, updates: Updates) -> Any:
        return zeros_like(updates)
