"""SGDP."""

from __future__ import annotations

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp

from fnopt.core import (
    Composed,
    Context,
    Decay,
    Mask,
    NonNegative,
    Rate,
    Static,
    Transform,
    scale_by_learning_rate,
    trace,
)
from fnopt.core.types import LeafUpdate, Slots
from fnopt.first_order.decayed import decayed
from fnopt.first_order.projection import projected


class _projected_trace(trace):
    """Momentum, projected, and a decay that is less where it was."""

    weight_decay: Rate = 0.0
    delta: NonNegative = 0.1
    wd_ratio: NonNegative = 0.1
    eps: NonNegative = 1e-8
    mask: Mask = None
    channel_axis: Static[int] = -1

    needs_params = True
    elementwise = keeps_zero = False  # it decays weights, and a projection is of a leaf

    def update_leaf(self, grad: jax.Array, slots: Slots, param: Any, ctx: Context) -> LeafUpdate:
        direction, new = super().update_leaf(grad, slots, param, ctx)
        direction, tangent = projected(
            direction, grad, param, self.delta, self.eps, self.channel_axis
        )
        share = jnp.where(tangent, self.wd_ratio, 1.0) / (1 - self.decay)
        return direction + self.weight_decay * share * param, new


class sgdp(Composed):
    r"""SGDP: momentum that does not lengthen weights whose length does not matter.

    .. math:: v_t = g_t + \mu\,v_{t-1}, \qquad \Delta\theta_t = -\eta_t\,\Bigl(\Pi_\theta(v_t)
        + \frac{\rho_t\,\lambda}{1 - \mu}\,\theta_{t-1}\Bigr)

    with :math:`\Pi_\theta` and :math:`\rho_t` as in :class:`adamp`; divided by :math:`1 - \mu` the
    decay is as strong as an L2 penalty that goes through the momentum. The authors' program has no
    momentum by default, and without Nesterov's it projects the stored velocity too; here, as in
    the paper, what is stored is not projected.

    When:
        Networks with batch normalization, instead of SGD with momentum.

    Args:
        learning_rate: learning rate :math:`\eta \ge 0`.
        momentum: decay of the velocity, :math:`\mu \in [0, 1)`.
        nesterov: whether to look ahead along the velocity.
        weight_decay: strength of the weight decay, :math:`\lambda \ge 0`.
        delta: bound of the cosine below which a leaf is projected, :math:`\delta \ge 0`.
        wd_ratio: factor of the weight decay where a leaf is projected, :math:`\rho \ge 0`.
        eps: added to the norms, at least 0.
        mask: the leaves to decay; all if None.
        channel_axis: axis of the outputs: -1 in flax's kernels, 0 in torch's.

    References:
        Heo et al., *AdamP: slowing down the slowdown for momentum optimizers on scale-invariant
        weights*, ICLR 2021, arXiv:2006.08217, Algorithm 1 and eq. 11; the decay is that of the
        authors' program.
    """

    learning_rate: Rate
    momentum: Decay = 0.9
    nesterov: Static[bool] = False
    weight_decay: Rate = 0.0
    delta: NonNegative = 0.1
    wd_ratio: NonNegative = 0.1
    eps: NonNegative = 1e-8
    mask: Mask = None
    _: dataclasses.KW_ONLY
    channel_axis: Static[int] = -1
    family = "gradient_descent"
    usual_rate = 0.05

    def parts(self) -> tuple[Transform, ...]:
        rule = functools.partial(
            _projected_trace,
            self.momentum,
            self.nesterov,
            delta=self.delta,
            wd_ratio=self.wd_ratio,
            eps=self.eps,
            channel_axis=self.channel_axis,
        )
        return (
            *decayed(rule, self.weight_decay, self.mask),
            scale_by_learning_rate(self.learning_rate),
        )
