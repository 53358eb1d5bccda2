"""AMSGrad."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import optax

from fnopt.core import (
    Composed,
    Context,
    Corrections,
    Decay,
    DType,
    NonNegative,
    Rate,
    Rule,
    Static,
    Transform,
    abs_sq,
    bias_correction,
    divide,
    moment,
    real_zeros,
    root,
    scale_by_learning_rate,
    zeros,
)
from fnopt.core.types import LeafUpdate, Numeric, Slots


class scale_by_amsgrad(Rule):
    r"""Divides the mean of recent gradients by the largest mean square so far.

    .. math::
        m_t &= \beta_1\,m_{t-1} + (1 - \beta_1)\,g_t, &
        v_t &= \beta_2\,v_{t-1} + (1 - \beta_2)\,g_t^2 \\
        \bar v_t &= \max\bigl(\bar v_{t-1},\; v_t / (1 - \beta_2^t)\bigr), &
        u_t &= \frac{m_t / (1 - \beta_1^t)}{\sqrt{\bar v_t + \bar\epsilon} + \epsilon}

    Args:
        b1: decay of the mean, :math:`\beta_1 \in [0, 1)`.
        b2: decay of the mean square, :math:`\beta_2 \in [0, 1)`.
        eps: added to the root, :math:`\epsilon \ge 0`.
        eps_root: added under the root, :math:`\bar\epsilon \ge 0`.
        mu_dtype: dtype of :math:`m`; the parameter's if None.
        bias_correction_mu: False for the paper's :math:`m_t` without its divisor.
        bias_correction_nu: False for the paper's :math:`v_t` without its divisor. (torch corrects
            the largest :math:`v` and not each.)
        nu_dtype: dtype of the mean square; the parameter's, float32 at least, if None.
    """

    b1: Decay = 0.9
    b2: Decay = 0.999
    eps: NonNegative = 1e-8
    eps_root: NonNegative = 0.0
    mu_dtype: DType = None
    bias_correction_mu: Static[bool] = True
    bias_correction_nu: Static[bool] = True
    _: dataclasses.KW_ONLY
    nu_dtype: DType = None

    State = optax.ScaleByAmsgradState
    elementwise = keeps_zero = True

    def init_leaf(self, param: jax.Array) -> dict[str, jax.Array]:
        nu = {name: real_zeros(param, dtype=self.nu_dtype) for name in ("nu", "nu_max")}
        return {"mu": zeros(param, self.mu_dtype), **nu}

    def precompute(self, t: Numeric) -> Corrections:
        return Corrections(
            bias_correction(self.b1, t) if self.bias_correction_mu else 1.0,
            bias_correction(self.b2, t) if self.bias_correction_nu else 1.0,
        )

    def update_leaf(self, grad: jax.Array, slots: Slots, param: Any, ctx: Context) -> LeafUpdate:
        corrections = ctx.precomputed
        mu = moment(grad, slots.mu, self.b1)
        nu = moment(abs_sq(grad), slots.nu, self.b2)
        nu_max = jnp.maximum(slots.nu_max, nu / corrections.nu)
        direction = divide(mu / corrections.mu, root(nu_max + self.eps_root), eps=self.eps)
        return direction, {"mu": mu, "nu": nu, "nu_max": nu_max}


class amsgrad(Composed):
    r"""AMSGrad: :class:`adam` whose rates never rise.

    .. math:: \Delta\theta_t = -\eta_t\,\hat m_t / (\sqrt{\bar v_t + \bar\epsilon} + \epsilon)

    Args:
        learning_rate: learning rate :math:`\eta \ge 0`.
        b1: decay of the mean, :math:`\beta_1 \in [0, 1)`.
        b2: decay of the mean square, :math:`\beta_2 \in [0, 1)`.
        eps: added to the root, :math:`\epsilon \ge 0`.
        eps_root: added under the root, :math:`\bar\epsilon \ge 0`.
        mu_dtype: dtype of the mean; the parameter's if None.
        bias_correction_mu: False for the paper's mean.
        bias_correction_nu: False for the paper's mean square.
        nu_dtype: dtype of the mean square; the parameter's, float32 at least, if None.

    When:
        Rare and informative large gradients, for which Adam forgets too fast and need not
        converge; in practice it is seldom better.

    References:
        Reddi, Kale & Kumar, *On the convergence of Adam and beyond*, ICLR 2018, arXiv:1904.09237,
        Algorithm 2.
    """

    learning_rate: Rate
    b1: Decay = 0.9
    b2: Decay = 0.999
    eps: NonNegative = 1e-8
    eps_root: NonNegative = 0.0
    mu_dtype: DType = None
    bias_correction_mu: Static[bool] = True
    bias_correction_nu: Static[bool] = True
    _: dataclasses.KW_ONLY
    nu_dtype: DType = None
    family = "adaptive"

    def parts(self) -> tuple[Transform, ...]:
        return (
            scale_by_amsgrad(
                self.b1,
                self.b2,
                self.eps,
                self.eps_root,
                self.mu_dtype,
                self.bias_correction_mu,
                self.bias_correction_nu,
                nu_dtype=self.nu_dtype,
            ),
            scale_by_learning_rate(self.learning_rate),
        )
