"""The model of the loss that MoMo and MoMo-Adam step by."""

from __future__ import annotations

import math
from typing import Any

import jax.numpy as jnp

from fnopt.core import Joint, divide, real_number
from fnopt.core.types import Arrays, Numeric


class ModelOfLoss(Joint):
    """What MoMo and MoMo-Adam share: their averages, and the refusal of what has no step."""

    family = ""
    shared = ("barf", "gamma", "lb")
    needs_params = True

    def __post_init__(self) -> None:
        super().__post_init__()
        rate, decay = (vars(self)[name] for name in ("learning_rate", "weight_decay"))
        numbers = isinstance(rate, float) and isinstance(decay, float)
        # An unbounded step would decay the weights to nothing.
        if numbers and math.isinf(rate) and decay:
            raise ValueError(
                f"{type(self).__name__}: learning_rate must be finite with a weight_decay, got"
                f" {rate!r} and {decay!r}"
            )

    def init_shared(self, params: Arrays) -> dict[str, Any]:
        return {
            "barf": real_number(0.0, params),
            "gamma": real_number(0.0, params),
            "lb": real_number(vars(self)["lower_bound"], params),
        }


class Model:
    r"""What MoMo and MoMo-Adam share: the loss as the largest of a bound and a plane.

    The plane is through the averages of losses, gradients and their products with the parameters;
    its gradient's squared length is measured by the preconditioner. ``share`` is 1, or what an
    average that began at 0 is to be divided by.
    """

    def __init__(
        self,
        rule: Any,
        barf: Numeric,
        gamma: Numeric,
        product: Numeric,
        square: Numeric,
        share: Numeric,
    ):
        self.rule, self.share, self.square = rule, share, square
        self.height = barf + product - gamma
        # A rate without a cap does without decay: 0 times inf would be no number.
        rate = jnp.minimum(rule.learning_rate, jnp.finfo(jnp.result_type(square)).max)
        self.shrink = rate * rule.weight_decay
        self.decay = 1 + self.shrink
        self.cap = self.decay * (barf - gamma) + product

    def step(self, bound: Numeric) -> tuple[Any, Any]:
        """The step along the direction, and the next bound, from the last one."""
        rule, share = self.rule, self.share
        if not rule.adapt_lower_bound:
            bound = rule.lower_bound
        else:
            scale = self.decay * share
            reset = jnp.maximum(self.cap / (2 * scale), rule.lower_bound)
            bound = jnp.where(self.cap < scale * bound, reset, bound)
        gap = jnp.maximum(self.cap - self.decay * share * bound, 0.0)
        step = jnp.minimum(rule.learning_rate / share, divide(gap, self.square))
        if rule.adapt_lower_bound:
            gain = jnp.where(step > 0, 0.5 * step * self.square, 0.0)
            raised = jnp.maximum((self.height - gain) / share, rule.lower_bound)
            # At a rate of 0 the step says nothing of the loss below.
            bound = jnp.where(rule.learning_rate > 0, raised, bound)
        return step, bound

    def move(self, param: Any, step: Any) -> Any:
        """The change of a parameter: the step, then the decay as its proximal map."""
        return -(self.shrink * param + step) / self.decay
