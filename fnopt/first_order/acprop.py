"""ACProp."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from fnopt.core import (
    Composed,
    Context,
    Decay,
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
    real_zeros,
    root,
    scale_by_learning_rate,
    zeros,
)
from fnopt.core.types import LeafUpdate, Numeric, Slots


class Start(NamedTuple):
    """What ACProp needs of the count.

    Attributes:
        first: whether this is the first update, before which there is no deviation.
        nu_correction: the divisor of the mean squared deviation before this update.
    """

    first: jax.Array
    nu_correction: jax.Array


class scale_by_acprop(Rule):
    r"""Divides by how far gradients strayed from their mean before this one came.

    .. math::
        m_t &= \beta_1\,m_{t-1} + (1 - \beta_1)\,g_t \\
        s_t &= \beta_2\,s_{t-1} + (1 - \beta_2)\,(g_t - m_t)^2 + \bar\epsilon \\
        u_t &= \frac{g_t}{\sqrt{s_{t-1} / (1 - \beta_2^{t-1})} + \epsilon}, \qquad u_1 = g_1

    As in the paper and its authors' code. optax has :math:`m_t` for :math:`g_t` in the last line
    and :math:`m_{t-1}` for :math:`m_t` in the second, against its own documentation: its pull
    request 1716.

    Args:
        b1: decay of the mean, :math:`\beta_1 \in [0, 1)`.
        b2: decay of the mean squared surprise, :math:`\beta_2 \in [0, 1)`.
        eps: added to the root, :math:`\epsilon \ge 0`.
        eps_root: added to :math:`s` in every update, :math:`\bar\epsilon \ge 0`.
    """

    b1: Decay = 0.9
    b2: Decay = 0.999
    eps: NonNegative = 1e-16
    eps_root: NonNegative = 1e-16

    State = optax.ScaleByBeliefState
    elementwise = keeps_zero = True

    def init_leaf(self, param: jax.Array) -> dict[str, jax.Array]:
        return {"mu": zeros(param), "nu": real_zeros(param)}

    def precompute(self, t: Numeric) -> Start:
        return Start(t == 1, bias_correction(self.b2, jnp.maximum(t - 1, 1)))

    def update_leaf(self, grad: jax.Array, slots: Slots, param: Any, ctx: Context) -> LeafUpdate:
        first, nu_correction = ctx.precomputed
        mu = moment(grad, slots.mu, self.b1)
        # g - m by the old mean: an infinite gradient gives an infinite square, not NaN.
        square = abs_sq(self.b1 * (grad - slots.mu))
        nu = moment(square, slots.nu, self.b2) + self.eps_root
        size = root(slots.nu / nu_correction) + self.eps
        return divide(grad, jnp.where(first, 1.0, size)), {"mu": mu, "nu": nu}


class acprop(Composed):
    r"""ACProp: AdaBelief's divisor, one update late, so that it knows nothing of the gradient.

    .. math:: \Delta\theta_t = -\eta_t\,
        \Bigl(\frac{g_t}{\sqrt{\hat s_{t-1}} + \epsilon} + \lambda\,\theta_{t-1}\Bigr)

    Args:
        learning_rate: learning rate :math:`\eta \ge 0`.
        b1: decay of the mean that gradients stray from, :math:`\beta_1 \in [0, 1)`.
        b2: decay of the mean squared surprise, :math:`\beta_2 \in [0, 1)`.
        eps: added to the root, :math:`\epsilon \ge 0`.
        eps_root: added to the mean square in every update, :math:`\bar\epsilon \ge 0`.
        weight_decay: strength of the weight decay, :math:`\lambda \ge 0`.
        mask: the leaves to decay; all if None.

    When:
        Noisy gradients, as in GANs and reinforcement learning. Where they hardly change, or leap
        after a quiet start, its steps are huge: warm the rate up or clip.

    References:
        Zhuang et al., *Momentum centering and asynchronous update for adaptive gradient methods*,
        NeurIPS 2021, arXiv:2110.05454, ACProp.
    """

    learning_rate: Rate
    b1: Decay = 0.9
    b2: Decay = 0.999
    eps: NonNegative = 1e-16
    eps_root: NonNegative = 1e-16
    weight_decay: Rate = 0.0
    mask: Mask = None
    family = "adaptive"

    def parts(self) -> tuple[Transform, ...]:
        return (
            scale_by_acprop(self.b1, self.b2, self.eps, self.eps_root),
            add_decayed_weights(self.weight_decay, self.mask),
            scale_by_learning_rate(self.learning_rate),
        )
