"""QHAdam."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import optax

from fnopt.core import (
    Composed,
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
    bias_correction,
    divide,
    moment,
    root,
    scale_by_learning_rate,
    zeros,
)
from fnopt.first_order.mean_square import mean_square


class scale_by_qhadam(Rule):
    r"""Adam's direction with the gradient mixed into its mean, and its square into the mean square.

    .. math::
        m_t &= \beta_1\,m_{t-1} + (1 - \beta_1)\,g_t, &
        v_t &= \beta_2\,v_{t-1} + (1 - \beta_2)\,g_t^2 \\
        \hat m_t &= m_t / (1 - \beta_1^t), & \hat v_t &= v_t / (1 - \beta_2^t) \\
        u_t &= \frac{(1 - \nu_1)\,g_t + \nu_1\,\hat m_t}
            {\sqrt{(1 - \nu_2)\,g_t^2 + \nu_2\,\hat v_t} + \epsilon}

    Args:
        b1: :math:`\beta_1 \in [0, 1)`.
        b2: :math:`\beta_2 \in [0, 1)`.
        nu1: :math:`\nu_1`, usually in :math:`[0, 1]`.
        nu2: :math:`\nu_2 \in [0, 1]`.
        eps: :math:`\epsilon \ge 0`.
        mu_dtype: of :math:`m`.
        nu_dtype: of the mean square; None for single precision at least.
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

    def slots(self, param: jax.Array) -> dict[str, jax.Array]:
        return {"mu": zeros(param, self.mu_dtype), "nu": mean_square(param, self.nu_dtype)}

    def once(self, t: Any) -> Any:
        return bias_correction(self.b1, t), bias_correction(self.b2, t)

    def direct(self, grad: jax.Array, slots: Any, param: Any, t: Any) -> Any:
        mu_correction, nu_correction = t
        mu = moment(grad, slots.mu, self.b1)
        nu = moment(abs_sq(grad), slots.nu, self.b2)
        mean = (1 - self.nu1) * grad + self.nu1 * mu / mu_correction
        # Neither share may be 0 times a square too large for its precision, which is NaN.
        now = ((1 - self.nu2) * grad * grad.conj()).real
        finite = jnp.minimum(nu, jnp.finfo(nu.dtype).max)
        size = root(now + self.nu2 * finite / nu_correction)
        return divide(mean, size, eps=self.eps), {"mu": mu, "nu": nu}


class qhadam(Composed):
    r"""QHAdam: Adam with quasi-hyperbolic means.

    .. math:: \Delta\theta_t = -\eta_t\,\Bigl(\frac{(1 - \nu_1)\,g_t + \nu_1\,\hat m_t}
        {\sqrt{(1 - \nu_2)\,g_t^2 + \nu_2\,\hat v_t} + \epsilon} + \lambda\,\theta_{t-1}\Bigr)

    At :math:`\nu_1 = \nu_2 = 1` it is :class:`adam`.

    Args:
        learning_rate: :math:`\eta \ge 0`.
        b1: :math:`\beta_1 \in [0, 1)`, of the mean.
        b2: :math:`\beta_2 \in [0, 1)`, of the mean square.
        nu1: :math:`\nu_1`, usually in :math:`[0, 1]`, the share of the mean.
        nu2: :math:`\nu_2 \in [0, 1]`, the share of the mean square; below 1 it bounds the step.
        eps: :math:`\epsilon \ge 0`, beside the root.
        mu_dtype: of the mean.
        weight_decay: :math:`\lambda \ge 0`, decoupled.
        mask: the leaves to decay; all if None.
        nu_dtype: of the mean square; None for single precision at least.

    When:
        In the place of :class:`adam` where a longer memory helps; ``nu2`` a little below 1 where
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
        given = self.b1, self.b2, self.nu1, self.nu2, self.eps, self.mu_dtype
        return (
            scale_by_qhadam(*given, nu_dtype=self.nu_dtype),
            add_decayed_weights(self.weight_decay, self.mask),
            scale_by_learning_rate(self.learning_rate),
        )
