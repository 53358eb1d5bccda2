"""Adagrad."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import optax

from fnopt.core import (
    Composed,
    Context,
    NonNegative,
    Rate,
    Rule,
    Static,
    Transform,
    abs_sq,
    real_zeros,
    scale_by_learning_rate,
)
from fnopt.core.types import LeafUpdate, Slots


class scale_by_rss(Rule):
    r"""Divides by the root of the sum of all squared gradients.

    .. math:: s_t = s_{t-1} + g_t^2, \qquad u_t = g_t / \sqrt{s_t + \epsilon}

    Where the sum is still 0, so is the direction.

    Args:
        initial_accumulator_value: initial sum, :math:`s_0 \ge 0`.
        eps: added under the root, :math:`\epsilon \ge 0`.
        eps_in_sqrt: False for :math:`u_t = g_t / (\sqrt{s_t} + \epsilon)`.
    """

    initial_accumulator_value: NonNegative = 0.1
    eps: NonNegative = 1e-7
    eps_in_sqrt: Static[bool] = True

    State = optax.ScaleByRssState
    elementwise = keeps_zero = True

    def init_leaf(self, param: jax.Array) -> dict[str, jax.Array]:
        return {"sum_of_squares": real_zeros(param, fill=self.initial_accumulator_value)}

    def update_leaf(self, grad: jax.Array, slots: Slots, param: Any, ctx: Context) -> LeafUpdate:
        total = slots.sum_of_squares + abs_sq(grad)
        # Both branches are differentiated, so the root that is not taken must be finite too.
        safe = jnp.where(total > 0, total, jnp.ones_like(total))
        if self.eps_in_sqrt:
            divided = grad * jax.lax.rsqrt(safe + self.eps)
        else:
            divided = grad / (jnp.sqrt(safe) + self.eps)
        # 0 times the gradient, so that one that is no number is seen.
        direction = jnp.where(total > 0, divided, 0 * grad)
        return direction, {"sum_of_squares": total}


class adagrad(Composed):
    r"""Adagrad: a separate rate for every weight, falling with all the gradients it has seen.

    .. math:: s_t = s_{t-1} + g_t^2, \qquad
        \Delta\theta_t = -\eta_t\,g_t / \sqrt{s_t + \epsilon}

    Args:
        learning_rate: learning rate :math:`\eta \ge 0`.
        initial_accumulator_value: initial sum, :math:`s_0 \ge 0`.
        eps: added under the root, :math:`\epsilon \ge 0`.

    When:
        Convex problems and sparse features, where rare ones should keep a large rate; in long runs
        of deep networks its rate falls too far.

    References:
        Duchi, Hazan & Singer, *Adaptive subgradient methods for online learning and stochastic
        optimization*, JMLR 12, 2011, Figure 1 with diagonal matrices (and eq. 1).
    """

    learning_rate: Rate
    initial_accumulator_value: NonNegative = 0.1
    eps: NonNegative = 1e-7
    family = "adaptive"
    usual_rate = 0.05

    def parts(self) -> tuple[Transform, ...]:
        return (
            scale_by_rss(self.initial_accumulator_value, self.eps),
            scale_by_learning_rate(self.learning_rate),
        )
