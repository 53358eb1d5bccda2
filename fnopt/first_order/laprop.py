"""LaProp."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import optax

from fnopt.core import (
    Composed,
    Decay,
    DType,
    Mask,
    NonNegative,
    Rate,
    Rule,
    Transform,
    abs_sq,
    add_decayed_weights,
    bias_correction,
    divide,
    moment,
    root,
    scale_by_learning_rate,
    zeros,
)
from fnopt.first_order.mean_square import mean_square


class scale_by_laprop(Rule):
    r"""Takes the mean of gradients that are already divided by their root mean square.

    .. math::
        v_t &= \beta_2\,v_{t-1} + (1 - \beta_2)\,g_t^2 \\
        m_t &= \beta_1\,m_{t-1}
            + (1 - \beta_1)\,\frac{g_t}{\sqrt{v_t / (1 - \beta_2^t)} + \epsilon} \\
        u_t &= m_t / (1 - \beta_1^t)

    The paper's names are :math:`\mu` for :math:`\beta_1`, :math:`\nu` for :math:`\beta_2` and
    :math:`n` for :math:`v`.

    Args:
        b1: :math:`\beta_1 \in [0, 1)`.
        b2: :math:`\beta_2 \in [0, 1)`.
        eps: :math:`\epsilon \ge 0`.
        mu_dtype: of :math:`m`.
        nu_dtype: of the mean square; None for single precision at least.
    """

    b1: Decay = 0.9
    b2: Decay = 0.999
    eps: NonNegative = 1e-15
    mu_dtype: DType = None
    _: dataclasses.KW_ONLY
    nu_dtype: DType = None

    State = optax.ScaleByAdamState

    def slots(self, param: jax.Array) -> dict[str, jax.Array]:
        return {"mu": zeros(param, self.mu_dtype), "nu": mean_square(param, self.nu_dtype)}

    def once(self, t: Any) -> Any:
        return bias_correction(self.b1, t), bias_correction(self.b2, t)

    def direct(self, grad: jax.Array, slots: Any, param: Any, t: Any) -> Any:
        mu_correction, nu_correction = t
        nu = moment(abs_sq(grad), slots.nu, self.b2)
        scaled = divide(grad, root(nu / nu_correction), eps=self.eps)
        mu = moment(scaled, slots.mu, self.b1)
        return mu / mu_correction, {"mu": mu, "nu": nu}


class laprop(Composed):
    r"""LaProp: Adam with its momentum after its division, so that the two do not interfere.

    .. math:: \Delta\theta_t = -\eta_t\,\bigl(m_t / (1 - \beta_1^t) + \lambda\,\theta_{t-1}\bigr)

    Args:
        learning_rate: :math:`\eta \ge 0`; the paper's default is 4e-4.
        b1: :math:`\beta_1 \in [0, 1)`, of the momentum.
        b2: :math:`\beta_2 \in [0, 1)`, of the mean square.
        eps: :math:`\epsilon \ge 0`, beside the root.
        mu_dtype: of the momentum.
        weight_decay: :math:`\lambda \ge 0`, decoupled.
        mask: the leaves to decay; all if None.
        nu_dtype: of the mean square; None for single precision at least.

    When:
        In the place of :class:`adamw` where ``b2`` must be small beside ``b1``: noisy or
        changing objectives, as in reinforcement learning and GANs.

    The authors' program averages the rate times the divided gradient, so that a schedule acts
    through the momentum, and decays after the step, by :math:`\lambda` whatever the rate is.

    References:
        Ziyin, Wang & Ueda, *LaProp: separating momentum and adaptivity in Adam*, 2020,
        arXiv:2002.04839, Algorithm 1.
    """

    learning_rate: Rate
    b1: Decay = 0.9
    b2: Decay = 0.999
    eps: NonNegative = 1e-15
    mu_dtype: DType = None
    weight_decay: Rate = 0.0
    mask: Mask = None
    _: dataclasses.KW_ONLY
    nu_dtype: DType = None
    family = "adaptive"

    def parts(self) -> tuple[Transform, ...]:
        return (
            scale_by_laprop(self.b1, self.b2, self.eps, self.mu_dtype, nu_dtype=self.nu_dtype),
            add_decayed_weights(self.weight_decay, self.mask),
            scale_by_learning_rate(self.learning_rate),
        )
