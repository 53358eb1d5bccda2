"""AdaMax."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import optax

from fnopt.core import (
    Composed,
    Context,
    Decay,
    NonNegative,
    Rate,
    Rule,
    Transform,
    bias_correction,
    divide,
    moment,
    real_zeros,
    scale_by_learning_rate,
    zeros,
)
from fnopt.core.types import LeafUpdate, Numeric, Slots


class scale_by_adamax(Rule):
    r"""Divides the mean of recent gradients by their largest magnitude, fading.

    .. math:: m_t = \beta_1\,m_{t-1} + (1 - \beta_1)\,g_t, \qquad
        w_t = \max(\beta_2\,w_{t-1},\; |g_t| + \epsilon), \qquad
        u_t = \frac{m_t}{(1 - \beta_1^t)\,w_t}

    The paper has no :math:`\epsilon`; as in optax and torch it stands for the division by 0.

    Args:
        b1: decay of the mean, :math:`\beta_1 \in [0, 1)`.
        b2: decay of the largest magnitude, :math:`\beta_2 \in [0, 1)`.
        eps: added to the magnitude, :math:`\epsilon > 0`.
    """

    b1: Decay = 0.9
    b2: Decay = 0.999
    eps: NonNegative = 1e-8

    State = optax.ScaleByAdamState
    elementwise = keeps_zero = True

    def init_leaf(self, param: jax.Array) -> dict[str, jax.Array]:
        return {"mu": zeros(param), "nu": real_zeros(param)}

    def precompute(self, t: Numeric) -> Any:
        return bias_correction(self.b1, t)

    def update_leaf(self, grad: jax.Array, slots: Slots, param: Any, ctx: Context) -> LeafUpdate:
        mu = moment(grad, slots.mu, self.b1)
        nu = jnp.maximum(self.b2 * slots.nu, jnp.abs(grad) + self.eps)
        return divide(mu / ctx.precomputed, nu), {"mu": mu, "nu": nu}


class adamax(Composed):
    r"""AdaMax: Adam with the infinity norm.

    .. math:: \Delta\theta_t = -\frac{\eta_t}{1 - \beta_1^t}\,\frac{m_t}{w_t}

    Args:
        learning_rate: learning rate :math:`\eta \ge 0`.
        b1: decay of the mean, :math:`\beta_1 \in [0, 1)`.
        b2: decay of the largest magnitude, :math:`\beta_2 \in [0, 1)`.
        eps: added to the magnitude, :math:`\epsilon > 0`.

    When:
        Gradients that are mostly 0 with rare large ones, as those of embeddings; elsewhere
        :class:`adam` is at least as good.

    References:
        Kingma & Ba, *Adam: a method for stochastic optimization*, ICLR 2015, arXiv:1412.6980,
        Algorithm 2.
    """

    learning_rate: Rate
    b1: Decay = 0.9
    b2: Decay = 0.999
    eps: NonNegative = 1e-8
    family = "adaptive"

    def parts(self) -> tuple[Transform, ...]:
        return (
            scale_by_adamax(self.b1, self.b2, self.eps),
            scale_by_learning_rate(self.learning_rate),
        )
