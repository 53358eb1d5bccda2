"""AdamP."""

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
)
from fnopt.core.types import LeafUpdate, Slots
from fnopt.first_order.adam import scale_by_adam
from fnopt.first_order.decayed import decayed
from fnopt.first_order.projection import projected


class _projected_adam(scale_by_adam):
    """Adam's direction, projected, and a decay that is less where it was."""

    weight_decay: Rate = 0.0
    delta: NonNegative = 0.1
    wd_ratio: NonNegative = 0.1
    mask: Mask = None
    channel_axis: Static[int] = -1

    needs_params = True
    elementwise = keeps_zero = False  # it decays weights, and a projection is of a leaf

    def update_leaf(self, grad: jax.Array, slots: Slots, param: Any, ctx: Context) -> LeafUpdate:
        direction, new = super().update_leaf(grad, slots, param, ctx)
        direction, tangent = projected(
            direction, grad, param, self.delta, self.eps, self.channel_axis
        )
        share = jnp.where(tangent, self.wd_ratio, 1.0)
        return direction + self.weight_decay * share * param, new


class adamp(Composed):
    r"""AdamP: AdamW that does not lengthen weights whose length does not matter.

    .. math:: \Delta\theta_t = -\eta_t\,\bigl(\Pi_\theta(\hat m_t / (\sqrt{\hat v_t} + \epsilon))
        + \rho_t\,\lambda\,\theta_{t-1}\bigr)

    with :math:`\Pi_\theta(p) = p - (\hat\theta \cdot p)\,\hat\theta` and :math:`\rho_t = \rho` for
    what the gradient is at right angles to, :math:`\lvert\cos(\theta, g)\rvert <
    \delta / \sqrt{\dim\theta}`, else the identity and 1. It is tried for all channels, then for
    the leaf; leaves with fewer than two axes are as in AdamW. With Nesterov's momentum the authors'
    program divides both of its terms by :math:`1 - \beta_1^t`, here the mean is divided by
    :math:`1 - \beta_1^{t+1}`, as in :class:`nadam`.

    When:
        Networks with batch or layer normalization, whose weights AdamW would let grow and thus
        learn ever less. Without normalization it is AdamW.

    Args:
        learning_rate: learning rate :math:`\eta \ge 0`.
        b1: decay of the mean, :math:`\beta_1 \in [0, 1)`.
        b2: decay of the mean square, :math:`\beta_2 \in [0, 1)`.
        eps: added to the root and to the norms, :math:`\epsilon \ge 0`.
        weight_decay: strength of the weight decay, :math:`\lambda \ge 0`.
        delta: bound of the cosine below which a leaf is projected, :math:`\delta \ge 0`.
        wd_ratio: factor of the weight decay where a leaf is projected, :math:`\rho \ge 0`.
        mask: the leaves to decay; all if None.
        nesterov: whether to use Nesterov's momentum, as in :class:`adam`.
        channel_axis: axis of the outputs: -1 in flax's kernels, 0 in torch's.

    References:
        Heo et al., *AdamP: slowing down the slowdown for momentum optimizers on scale-invariant
        weights*, ICLR 2021, arXiv:2006.08217, Algorithm 2 and eq. 11; the decay's share is that
        of the authors' program.
    """

    learning_rate: Rate
    b1: Decay = 0.9
    b2: Decay = 0.999
    eps: NonNegative = 1e-8
    weight_decay: Rate = 0.0
    delta: NonNegative = 0.1
    wd_ratio: NonNegative = 0.1
    mask: Mask = None
    _: dataclasses.KW_ONLY
    nesterov: Static[bool] = False
    channel_axis: Static[int] = -1
    family = "adaptive"

    def parts(self) -> tuple[Transform, ...]:
        rule = functools.partial(
            _projected_adam,
            self.b1,
            self.b2,
            self.eps,
            nesterov=self.nesterov,
            delta=self.delta,
            wd_ratio=self.wd_ratio,
            channel_axis=self.channel_axis,
        )
        return (
            *decayed(rule, self.weight_decay, self.mask),
            scale_by_learning_rate(self.learning_rate),
        )
