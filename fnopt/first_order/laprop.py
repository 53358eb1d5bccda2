"""LaProp."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import optax

from fnopt.core import (
    Composed,
    Context,
    Corrections,
    Decay,
    DType,
    Mask,
    NonNegative,
    Rate,
    Rule,
    Transform,
    abs_sq,
    add_decayed_weights,
    bias_corrections,
    divide,
    moment,
    real_zeros,
    root,
    scale_by_learning_rate,
    zeros,
)
from fnopt.core.types import LeafUpdate, Numeric, Slots


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
        b1: decay of the mean, :math:`\beta_1 \in [0, 1)`.
        b2: decay of the mean square, :math:`\beta_2 \in [0, 1)`.
        eps: added to the root, :math:`\epsilon \ge 0`.
        mu_dtype: dtype of :math:`m`; the parameter's if None.
        nu_dtype: dtype of the mean square; the parameter's, float32 at least, if None.
    """

    b1: Decay = 0.9
    b2: Decay = 0.999
    eps: NonNegative = 1e-15
    mu_dtype: DType = None
    _: dataclasses.KW_ONLY
    nu_dtype: DType = None

    State = optax.ScaleByAdamState
    elementwise = keeps_zero = True

    def init_leaf(self, param: jax.Array) -> dict[str, jax.Array]:
        return {"mu": zeros(param, self.mu_dtype), "nu": real_zeros(param, dtype=self.nu_dtype)}

    def precompute(self, t: Numeric) -> Corrections:
        return bias_corrections(self.b1, self.b2, t)

    def update_leaf(self, grad: jax.Array, slots: Slots, param: Any, ctx: Context) -> LeafUpdate:
        corrections = ctx.precomputed
        nu = moment(abs_sq(grad), slots.nu, self.b2)
        scaled = divide(grad, root(nu / corrections.nu), eps=self.eps)
        mu = moment(scaled, slots.mu, self.b1)
        return mu / corrections.mu, {"mu": mu, "nu": nu}


class laprop(Composed):
    r"""LaProp: Adam with its momentum after its division, so that the two do not interfere.

    .. math:: \Delta\theta_t = -\eta_t\,\bigl(m_t / (1 - \beta_1^t) + \lambda\,\theta_{t-1}\bigr)

    Args:
        learning_rate: learning rate :math:`\eta \ge 0`; the paper's default is 4e-4.
        b1: decay of the momentum, :math:`\beta_1 \in [0, 1)`.
        b2: decay of the mean square, :math:`\beta_2 \in [0, 1)`.
        eps: added to the root, :math:`\epsilon \ge 0`.
        mu_dtype: dtype of the momentum; the parameter's if None.
        weight_decay: strength of the decoupled weight decay, :math:`\lambda \ge 0`.
        mask: the leaves to decay; all if None.
        nu_dtype: dtype of the mean square; the parameter's, float32 at least, if None.

    When:
        Instead of :class:`adamw` where ``b2`` must be small compared with ``b1``: noisy or
        changing objectives, as in reinforcement learning and GANs.

    The authors' program averages the rate times the divided gradient, so that a schedule acts
    through the momentum, and decays after the step, by :math:`\lambda` at any rate.

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
