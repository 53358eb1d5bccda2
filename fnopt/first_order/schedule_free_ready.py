"""What the ready schedule-free optimizers share."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from fnopt.core import Rate, Scalar, Schedule, Transform, as_schedule, chain, divide
from fnopt.core.types import Numeric, OptState, Params, Updates
from fnopt.first_order.schedule_free import Warmup, schedule_free


class _warmed_up(Schedule):
    """A rate that rises from 0 in a straight line before it is itself."""

    rate: Scalar
    steps: Warmup

    def at(self, count: jax.Array) -> Numeric:
        return as_schedule(self.rate)(count) * jnp.minimum(divide(count, self.steps, 1.0), 1.0)


class ReadyScheduleFree(Transform):
    """An optimizer that is a :class:`schedule_free` of other parts, with its state."""

    learning_rate: Rate
    warmup_steps: Warmup = None
    family = ""

    def parts_of(self, rate: Any) -> tuple[Transform, ...]:
        """The optimizer's parts, from its rate."""
        raise NotImplementedError

    @property
    def whole(self) -> schedule_free:
        """The same as a ``schedule_free``."""
        rate, numbers = self.learning_rate, vars(self)
        if self.warmup_steps is not None:
            rate = _warmed_up(rate, self.warmup_steps)
        rest = {name: numbers[name] for name in ("b1", "weight_lr_power", "state_dtype")}
        return schedule_free(chain(*self.parts_of(rate)), rate, **rest)

    def plan(self, params: Params) -> Any:
        return self.whole.plan(params)

    def init(self, params: Params) -> OptState:
        return self.whole.init(params)

    def update(
        self, updates: Updates, state: OptState, params: Params = None, **extra_args: Any
    ) -> tuple[Updates, OptState]:
        return self.whole.update(updates, state, params, **extra_args)

    def eval_params(self, state: OptState, params: Params) -> Params:
        return self.whole.eval_params(state, params)

    @property
    def evaluates(self) -> bool | None:
        return self.whole.evaluates

    def count(self, state: OptState) -> jax.Array | None:
        return self.whole.count(state)

    def hyperparameters(self, state: OptState, **extra_args: Any) -> dict[str, Any]:
        rate = self.whole.hyperparameters(state, **extra_args)["learning_rate"]
        return {**super().hyperparameters(state, **extra_args), "learning_rate": rate}
