"""Adam."""

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
    NonNegative,
    Rate,
    Rule,
    Static,
    Transform,
    abs_sq,
    bias_corrections,
    corrected_mean,
    divide,
    moment,
    real_zeros,
    root,
    scale_by_learning_rate,
    zeros,
)
from fnopt.core.types import LeafUpdate, Numeric, Slots


class scale_by_adam(Rule):
    r"""Divides the mean of recent gradients by the root of their mean square.

    .. math::
        m_t &= \beta_1\,m_{t-1} + (1 - \beta_1)\,g_t, &
        v_t &= \beta_2\,v_{t-1} + (1 - \beta_2)\,g_t^2 \\
        \hat m_t &= m_t / (1 - \beta_1^t), & \hat v_t &= v_t / (1 - \beta_2^t) \\
        u_t &= \hat m_t / (\sqrt{\hat v_t + \bar\epsilon} + \epsilon)

    With Nesterov's momentum :math:`\hat m_t` is
    :math:`\beta_1\,m_t / (1 - \beta_1^{t+1}) + (1 - \beta_1)\,g_t / (1 - \beta_1^t)`.

    Args:
        b1: decay of the mean, :math:`\beta_1 \in [0, 1)`.
        b2: decay of the mean square, :math:`\beta_2 \in [0, 1)`.
        eps: added to the root, :math:`\epsilon \ge 0`.
        eps_root: added under the root, :math:`\bar\epsilon \ge 0`; above 0 for hypergradients.
        mu_dtype: dtype of :math:`m`; the parameter's if None.
        nesterov: whether to use Nesterov's momentum, as in Dozat 2016.
        nu_dtype: dtype of the mean square; the parameter's, float32 at least, if None.
    """

    b1: Decay = 0.9
    b2: Decay = 0.999
    eps: NonNegative = 1e-8
    eps_root: NonNegative = 0.0
    mu_dtype: DType = None
    _: dataclasses.KW_ONLY
    nesterov: Static[bool] = False
    nu_dtype: DType = None

    State = optax.ScaleByAdamState
    elementwise = keeps_zero = True

    def init_leaf(self, param: jax.Array) -> dict[str, jax.Array]:
        return {"mu": zeros(param, self.mu_dtype), "nu": real_zeros(param, dtype=self.nu_dtype)}

    def precompute(self, t: Numeric) -> Corrections:
        return bias_corrections(self.b1, self.b2, t, self.nesterov)

    def update_leaf(self, grad: jax.Array, slots: Slots, param: Any, ctx: Context) -> LeafUpdate:
        corrections = ctx.precomputed
        mu = moment(grad, slots.mu, self.b1)
        nu = moment(abs_sq(grad), slots.nu, self.b2)
        mean = corrected_mean(mu, grad, self.b1, corrections)
        size = root(nu / corrections.nu + self.eps_root)
        return divide(mean, size, eps=self.eps), {"mu": mu, "nu": nu}


class adam(Composed):
    r"""Adam: momentum and a separate rate for every weight.

    .. math:: \Delta\theta_t = -\eta_t\,\hat m_t / (\sqrt{\hat v_t + \bar\epsilon} + \epsilon)

    Args:
        learning_rate: learning rate :math:`\eta \ge 0`.
        b1: decay of the mean, :math:`\beta_1 \in [0, 1)`.
        b2: decay of the mean square, :math:`\beta_2 \in [0, 1)`.
        eps: added to the root, :math:`\epsilon \ge 0`.
        eps_root: added under the root, :math:`\bar\epsilon \ge 0`.
        mu_dtype: dtype of the mean; the parameter's if None.
        nesterov: whether to use Nesterov's momentum (NAdam).
        nu_dtype: dtype of the mean square; the parameter's, float32 at least, if None.

    When:
        The first thing to try on almost anything: insensitive to the scale of gradients and not
        fussy about its rate. With weight decay take :class:`adamw`.

    References:
        Kingma & Ba, *Adam: a method for stochastic optimization*, ICLR 2015, arXiv:1412.6980,
        Algorithm 1; Dozat, *Incorporating Nesterov momentum into Adam*, ICLR workshop 2016.

    >>> import fnopt, jax.numpy as jnp
    >>> tx = fnopt.adam(1e-3)
    >>> tx
    adam(learning_rate=0.001, b1=0.9, b2=0.999, eps=1e-08, eps_root=0.0, nesterov=False)
    >>> updates, state = tx.update(jnp.array([3.0]), tx.init(jnp.array([5.0])))
    >>> updates.round(5)
    Array([-0.001], dtype=float32)
    """

    learning_rate: Rate
    b1: Decay = 0.9
    b2: Decay = 0.999
    eps: NonNegative = 1e-8
    eps_root: NonNegative = 0.0
    mu_dtype: DType = None
    _: dataclasses.KW_ONLY
    nesterov: Static[bool] = False
    nu_dtype: DType = None
    family = "adaptive"

    def parts(self) -> tuple[Transform, ...]:
        arguments = self.b1, self.b2, self.eps, self.eps_root, self.mu_dtype
        return (
            scale_by_adam(*arguments, nesterov=self.nesterov, nu_dtype=self.nu_dtype),
            scale_by_learning_rate(self.learning_rate),
        )
