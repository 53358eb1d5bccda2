"""Sums of updates, applied at every k-th."""

from __future__ import annotations

from typing import Annotated, Any

import jax
import jax.numpy as jnp
import optax

from fnopt.core import Transform
from fnopt.core.checks import Interval, float_leaves, refuse_state
from fnopt.core.fields import Field
from fnopt.core.types import OptState, Params, Updates
from fnopt.wrap.branch import gathered, like, zeros_like

Every = Annotated[Any, Field(Interval("[1, inf)"))]


class apply_every(Transform):
    """Sums updates and lets the sum through at every :math:`k`-th; zero in between.

    Args:
        k: the number of updates that are summed, at least 1, rounded.

    When:
        Last in a chain, where the parts before it are to see every batch; :class:`MultiSteps` is
        what makes a large batch of small ones.
    """

    k: Every = 1

    leafwise = elementwise = keeps_zero = alike = True

    def init(self, params: Params) -> OptState:
        float_leaves("params", params)
        return optax.ApplyEvery(jnp.zeros((), jnp.int32), zeros_like(params))

    def update(
        self, updates: Updates, state: OptState, params: Params = None, **extra_args: Any
    ) -> tuple[Updates, OptState]:
        if not isinstance(state, optax.ApplyEvery):
            refuse_state(self, state)
        k = jnp.round(jnp.asarray(self.k)).astype(jnp.int32)
        full = state.count + 1 >= k
        total = gathered(updates, state.grad_acc, params, None)
        emitted = jax.tree.map(lambda x: jnp.where(full, x, jnp.zeros_like(x)), total)
        rest = jax.tree.map(lambda x: jnp.where(full, jnp.zeros_like(x), x), total)
        count = jnp.where(full, 0, state.count + 1)
        return like(emitted, updates), optax.ApplyEvery(count, like(rest, state.grad_acc))
