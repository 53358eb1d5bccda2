"""AdaBelief."""

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


class scale_by_belief(Rule):
    r"""Divides the mean of recent gradients by how far the gradients stray from it.

    .. math::
        m_t &= \beta_1\,m_{t-1} + (1 - \beta_1)\,g_t, &
        s_t &= \beta_2\,s_{t-1} + (1 - \beta_2)\,(g_t - m_t)^2 + \bar\epsilon \\
        \hat m_t &= m_t / (1 - \beta_1^t), & \hat s_t &= s_t / (1 - \beta_2^t) \\
        u_t &= \hat m_t / (\sqrt{\hat s_t} + \epsilon)

    With Nesterov's momentum :math:`\hat m_t` is that of :class:`scale_by_adam`.

    Args:
        b1: decay of the mean, :math:`\beta_1 \in [0, 1)`.
        b2: decay of the mean squared surprise, :math:`\beta_2 \in [0, 1)`.
        eps: added to the root, :math:`\epsilon \ge 0`.
        eps_root: added to :math:`s` in every update, :math:`\bar\epsilon \ge 0`.
        nesterov: whether to use Nesterov's momentum, as in Dozat 2016.
    """

    b1: Decay = 0.9
    b2: Decay = 0.999
    eps: NonNegative = 1e-16
    eps_root: NonNegative = 1e-16
    _: dataclasses.KW_ONLY
    nesterov: Static[bool] = False

    State = optax.ScaleByBeliefState
    elementwise = keeps_zero = True

    def init_leaf(self, param: jax.Array) -> dict[str, jax.Array]:
        return {"mu": zeros(param), "nu": real_zeros(param)}

    def precompute(self, t: Numeric) -> Corrections:
        return bias_corrections(self.b1, self.b2, t, self.nesterov)

    def update_leaf(self, grad: jax.Array, slots: Slots, param: Any, ctx: Context) -> LeafUpdate:
        corrections = ctx.precomputed
        mu = moment(grad, slots.mu, self.b1)
        # g - m by the old mean: an infinite gradient gives an infinite square, not NaN.
        square = abs_sq(self.b1 * (grad - slots.mu))
        nu = moment(square, slots.nu, self.b2) + self.eps_root
        mean = corrected_mean(mu, grad, self.b1, corrections)
        return divide(mean, root(nu / corrections.nu), eps=self.eps), {"mu": mu, "nu": nu}


class adabelief(Composed):
    r"""AdaBelief: long steps where gradients are as foreseen, short ones where they surprise.

    .. math:: \Delta\theta_t = -\eta_t\,\hat m_t / (\sqrt{\hat s_t} + \epsilon)

    Args:
        learning_rate: learning rate :math:`\eta \ge 0`.
        b1: decay of the mean, :math:`\beta_1 \in [0, 1)`.
        b2: decay of the mean squared surprise, :math:`\beta_2 \in [0, 1)`.
        eps: added to the root, :math:`\epsilon \ge 0`.
        eps_root: added to the mean square in every update, :math:`\bar\epsilon \ge 0`.
        nesterov: whether to use Nesterov's momentum.

    When:
        Instead of :class:`adam` where it generalizes worse than :class:`sgd`, or in training
        GANs. Nearly constant gradients make huge steps: raise ``eps`` if it is unstable.

    References:
        Zhuang et al., *AdaBelief optimizer: adapting stepsizes by the belief in observed
        gradients*, NeurIPS 2020, arXiv:2010.07468, Algorithm 2.
    """

    learning_rate: Rate
    b1: Decay = 0.9
    b2: Decay = 0.999
    eps: NonNegative = 1e-16
    eps_root: NonNegative = 1e-16
    _: dataclasses.KW_ONLY
    nesterov: Static[bool] = False
    family = "adaptive"

    def parts(self) -> tuple[Transform, ...]:
        return (
            scale_by_belief(self.b1, self.b2, self.eps, self.eps_root, nesterov=self.nesterov),
            scale_by_learning_rate(self.learning_rate),
        )
