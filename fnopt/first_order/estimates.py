"""What transforms have in common that estimate a diagonal of curvature in some updates only."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from fnopt.core import Outcome, Wrapper
from fnopt.core.plan import plan_by
from fnopt.core.transform import at_count
from fnopt.core.types import OptState, Params


class ByEstimates(Wrapper):
    """Around a transform that estimates a diagonal, in the first update and each so many.

    A subclass has a field ``update_interval``, and a state with a field ``count``.
    """

    family = ""

    leafwise = elementwise = alike = False  # the curvature may be of any kind
    keeps_zero = True

    inner_state = "hessian_fn_state"

    def plan(self, params: Params) -> Any:
        return plan_by(self, params)

    def count(self, state: OptState) -> jax.Array:
        return state.count

    def is_due(self, count: jax.Array) -> jax.Array:
        """Whether the update after ``count`` others makes an estimate."""
        interval = at_count(self, count).update_interval
        return count % jnp.round(jnp.asarray(interval)).astype(count.dtype) == 0

    def outcome(self, state: OptState) -> Outcome | None:
        outcome = super().outcome(state)
        if outcome is None:
            return None
        due = self.is_due(state.count - 1)
        return Outcome(None, None, *(jnp.where(due, count, 0) for count in outcome[2:]))
