"""What transforms have in common that estimate a diagonal of curvature in some updates only."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from fnopt.core import Outcome, Wrapper, computing_dtype, moment
from fnopt.core.moments import cast
from fnopt.core.plan import plan_by
from fnopt.core.schedule import to_dtype
from fnopt.core.transform import at_count
from fnopt.core.types import OptState, Params, Updates


class ByEstimates(Wrapper):
    """Around a transform that estimates a diagonal, in the first update and each so many.

    A subclass has fields ``update_interval`` and ``b2``, and a state with fields ``count`` and
    ``nu``.
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

    def next_nu(
        self,
        of_estimate: Callable[[jax.Array], jax.Array],
        updates: Updates,
        state: OptState,
        params: Params,
        extra_args: dict[str, Any],
    ) -> tuple[Any, OptState]:
        """The mean of the estimates and the inner state, with a new estimate where one is due.

        Args:
            of_estimate: a function of an estimated leaf, real and wide, that gives what is averaged
                with decay ``b2``.
            updates, state, params, extra_args: those of ``update``.
        """
        inner_state, now = self.check(state), at_count(self, state.count)

        def average(new: Any, old: Any) -> Any:
            wide = computing_dtype(old.dtype)
            new = of_estimate(cast(new.real, wide))
            return cast(moment(new, cast(old, wide), to_dtype(now.b2, wide)), old.dtype)

        def estimate() -> Any:
            diagonal, inner = self.wrapped.update(updates, inner_state, params, **extra_args)
            return jax.tree.map(average, diagonal, state.nu), inner

        return jax.lax.cond(self.is_due(state.count), estimate, lambda: (state.nu, inner_state))

    def outcome(self, state: OptState) -> Outcome | None:
        outcome = super().outcome(state)
        if outcome is None:
            return None
        due = self.is_due(state.count - 1)
        return Outcome(None, None, *(jnp.where(due, count, 0) for count in outcome[2:]))
