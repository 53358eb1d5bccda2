"""Adam."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import optax

from fnopt.core import (
    Composed,
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
    root,
    scale_by_learning_rate,
    zeros,
)
from fnopt.first_order.mean_square import mean_square


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
        b1: :math:`\beta_1 \in [0, 1)`.
        b2: :math:`\beta_2 \in [0, 1)`.
        eps: :math:`\epsilon \ge 0`.
        eps_root: :math:`\bar\epsilon \ge 0`; above 0 where one differentiates through the update.
        mu_dtype: of :math:`m`.
        nesterov: as Dozat 2016.
        nu_dtype: of the mean square; None for single precision at least.
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

    def slots(self, param: jax.Array) -> dict[str, jax.Array]:
        return {"mu": zeros(param, self.mu_dtype), "nu": mean_square(param, self.nu_dtype)}

    def once(self, t: Any) -> Any:
        return mean_correction(self.b1, t, self.nesterov), bias_correction(self.b2, t)

    def direct(self, grad: jax.Array, slots: Any, param: Any, t: Any) -> Any:
        mu_correction, nu_correction = t
        mu = moment(grad, slots.mu, self.b1)
        nu = moment(abs_sq(grad), slots.nu, self.b2)
        mean = corrected_mean(mu, grad, self.b1, mu_correction)
        size = root(nu / nu_correction + self.eps_root)
        return divide(mean, size, eps=self.eps), {"mu": mu, "nu": nu}


def mean_correction(b1: Any, t: Any, nesterov: bool) -> tuple[Any, Any]:
    """What :func:`corrected_mean` needs of the count: for the mean now and, with Nesterov's, next.

    Args:
        b1: the decay of the mean.
        t: the number of this update.
        nesterov: whether to look ahead.
    """
    return bias_correction(b1, t), bias_correction(b1, t + 1) if nesterov else None


def corrected_mean(mu: jax.Array, grad: jax.Array, b1: Any, correction: Any) -> jax.Array:
    """The mean of gradients without the bias of its start, Nesterov's where there is a next."""
    now, ahead = correction
    return mu / now if ahead is None else b1 * mu / ahead + (1 - b1) * grad / now


class adam(Composed):
    r"""Adam: momentum and a rate of its own for every weight.

    .. math:: \Delta\theta_t = -\eta_t\,\hat m_t / (\sqrt{\hat v_t + \bar\epsilon} + \epsilon)

    Args:
        learning_rate: :math:`\eta \ge 0`.
        b1: :math:`\beta_1 \in [0, 1)`, of the mean.
        b2: :math:`\beta_2 \in [0, 1)`, of the mean square.
        eps: :math:`\epsilon \ge 0`, beside the root.
        eps_root: :math:`\bar\epsilon \ge 0`, under the root.
        mu_dtype: of the mean.
        nesterov: Nesterov's momentum (NAdam).
        nu_dtype: of the mean square; None for single precision at least.

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
        given = self.b1, self.b2, self.eps, self.eps_root, self.mu_dtype
        return (
            scale_by_adam(*given, nesterov=self.nesterov, nu_dtype=self.nu_dtype),
            scale_by_learning_rate(self.learning_rate),
        )
