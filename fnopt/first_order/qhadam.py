"""QHAdam."""

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
    Fraction,
    Mask,
    NonNegative,
    Rate,
    Rule,
    Scalar,
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


class scale_by_qhadam(Rule):
    r"""Adam's direction with the gradient mixed into its mean, and its square into the mean square.

    .. math::
        m_t &= \beta_1\,m_{t-1} + (1 - \beta_1)\,g_t, &
        v_t &= \beta_2\,v_{t-1} + (1 - \beta_2)\,g_t^2 \\
        \hat m_t &= m_t / (1 - \beta_1^t), & \hat v_t &= v_t / (1 - \beta_2^t) \\
        u_t &= \frac{(1 - \nu_1)\,g_t + \nu_1\,\hat m_t}
            {\sqrt{(1 - \nu_2)\,g_t^2 + \nu_2\,\hat v_t} + \epsilon}

    Args:
        b1: decay of the mean, :math:`\beta_1 \in [0, 1)`.
        b2: decay of the mean square, :math:`\beta_2 \in [0, 1)`.
        nu1: share of the mean, :math:`\nu_1`, usually in :math:`[0, 1]`.
        nu2: share of the mean square, :math:`\nu_2 \in [0, 1]`.
        eps: added to the root, :math:`\epsilon \ge 0`.
        mu_dtype: dtype of :math:`m`; the parameter's if None.
        nu_dtype: dtype of the mean square; the parameter's, float32 at least, if None.
    """

    b1: Decay = 0.995
    b2: Decay = 0.999
    nu1: Scalar = 0.7
    nu2: Fraction = 1.0
    eps: NonNegative = 1e-8
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
        mu = moment(grad, slots.mu, self.b1)
        nu = moment(abs_sq(grad), slots.nu, self.b2)
        mean = (1 - self.nu1) * grad + self.nu1 * mu / corrections.mu
        # Neither share may be 0 times a square too large for its precision, which is NaN.
        now = ((1 - self.nu2) * grad * grad.conj()).real
        finite = jnp.minimum(nu, jnp.finfo(nu.dtype).max)
        size = root(now + self.nu2 * finite / corrections.nu)
        return divide(mean, size, eps=self.eps), {"mu": mu, "nu": nu}


class qhadam(Composed):
    r"""QHAdam: Adam with quasi-hyperbolic means.

    .. math:: \Delta\theta_t = -\eta_t\,\Bigl(\frac{(1 - \nu_1)\,g_t + \nu_1\,\hat m_t}
        {\sqrt{(1 - \nu_2)\,g_t^2 + \nu_2\,\hat v_t} + \epsilon} + \lambda\,\theta_{t-1}\Bigr)

    At :math:`\nu_1 = \nu_2 = 1` it is :class:`adam`.

    Args:
        learning_rate: learning rate :math:`\eta \ge 0`.
        b1: decay of the mean, :math:`\beta_1 \in [0, 1)`.
        b2: decay of the mean square, :math:`\beta_2 \in [0, 1)`.
        nu1: share of the mean, :math:`\nu_1`, usually in :math:`[0, 1]`.
        nu2: share of the mean square, :math:`\nu_2 \in [0, 1]`; below 1 it bounds the step.
        eps: added to the root, :math:`\epsilon \ge 0`.
        mu_dtype: dtype of the mean; the parameter's if None.
        weight_decay: strength of the decoupled weight decay, :math:`\lambda \ge 0`.
        mask: the leaves to decay; all if None.
        nu_dtype: dtype of the mean square; the parameter's, float32 at least, if None.

    When:
        Instead of :class:`adam` where a longer memory helps; ``nu2`` a little below 1 where
        Adam's steps are unstable.

    References:
        Ma & Yarats, *Quasi-hyperbolic momentum and Adam for deep learning*, ICLR 2019,
        arXiv:1810.06801, QHAdam; the defaults are its rule of thumb.
    """

    learning_rate: Rate
    b1: Decay = 0.995
    b2: Decay = 0.999
    nu1: Scalar = 0.7
    nu2: Fraction = 1.0
    eps: NonNegative = 1e-8
    mu_dtype: DType = None
    weight_decay: Rate = 0.0
    mask: Mask = None
    _: dataclasses.KW_ONLY
    nu_dtype: DType = None
    family = "adaptive"

    def parts(self) -> tuple[Transform, ...]:
        arguments = self.b1, self.b2, self.nu1, self.nu2, self.eps, self.mu_dtype
        return (
            scale_by_qhadam(*arguments, nu_dtype=self.nu_dtype),
            add_decayed_weights(self.weight_decay, self.mask),
            scale_by_learning_rate(self.learning_rate),
        )
