"""torch's Adam and AdamW."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp

from fnopt.compat.torch.base import Switch, TorchOptimizer
from fnopt.core import Context, NonNegative, Rate, Static, Transform, abs_sq, moment, root
from fnopt.core.ranges import Betas
from fnopt.core.types import LeafUpdate, Slots
from fnopt.first_order.adam import scale_by_adam
from fnopt.first_order.amsgrad import scale_by_amsgrad


class scale_by_largest(scale_by_amsgrad):
    r"""AMSGrad as torch has it: the largest mean square is corrected, and not each.

    .. math:: \bar v_t = \max(\bar v_{t-1}, v_t), \qquad
        u_t = \hat m_t / \bigl(\sqrt{\bar v_t / (1 - \beta_2^t)} + \epsilon\bigr)

    Arguments are those of :class:`fnopt.scale_by_amsgrad`.
    """

    def update_leaf(self, grad: jax.Array, slots: Slots, param: Any, ctx: Context) -> LeafUpdate:
        corrections = ctx.precomputed
        mu = moment(grad, slots.mu, self.b1)
        nu = moment(abs_sq(grad), slots.nu, self.b2)
        nu_max = jnp.maximum(slots.nu_max, nu)
        direction = mu / corrections.mu / (root(nu_max / corrections.nu) + self.eps)
        return direction, {"mu": mu, "nu": nu, "nu_max": nu_max}


def _adam(betas: Any, eps: Any, amsgrad: bool) -> Transform:
    b1, b2 = betas
    return (scale_by_largest if amsgrad else scale_by_adam)(b1, b2, eps)


class Adam(TorchOptimizer):
    r"""``torch.optim.Adam``, with its L2 penalty in the gradient.

    .. math::
        g_t &= \nabla f(\theta_{t-1}) + \lambda\,\theta_{t-1}, \\
        m_t &= \beta_1\,m_{t-1} + (1 - \beta_1)\,g_t, \qquad
        v_t = \beta_2\,v_{t-1} + (1 - \beta_2)\,g_t^2 \\
        \theta_t &= \theta_{t-1}
            - \frac{\eta_t\,m_t / (1 - \beta_1^t)}{\sqrt{v_t / (1 - \beta_2^t)} + \epsilon}

    with :math:`\max_{i \le t} v_i` instead of :math:`v_t` if ``amsgrad``.

    Args:
        lr: learning rate :math:`\eta \ge 0`.
        betas: decays of the mean and of the mean square, :math:`\beta_1, \beta_2 \in [0, 1)`.
        eps: added to the divisor, :math:`\epsilon \ge 0`.
        weight_decay: strength of the weight decay, :math:`\lambda \ge 0`.
        amsgrad: whether to divide by the largest mean square so far.
        maximize: whether to maximize the objective.
        decoupled_weight_decay: whether to decay as :class:`AdamW` does.
        foreach, capturable, differentiable, fused: ignored; see :class:`TorchOptimizer`.

    Raises:
        ValueError: a number is out of its range.

    References:
        Kingma & Ba, arXiv:1412.6980, and torch 2.13, ``torch/optim/adam.py``.

    >>> from fnopt.compat.torch import Adam
    >>> Adam(3e-4, betas=(0.9, 0.95)).betas
    (0.9, 0.95)
    """

    lr: Rate = 1e-3
    betas: Betas = (0.9, 0.999)
    eps: NonNegative = 1e-8
    weight_decay: Rate = 0.0
    amsgrad: Static[bool] = False
    _: dataclasses.KW_ONLY
    foreach: Switch = None
    maximize: Static[bool] = False
    capturable: Switch = False
    differentiable: Switch = False
    fused: Switch = None
    decoupled_weight_decay: Static[bool] = False

    def parts(self) -> tuple[Transform, ...]:
        method = _adam(self.betas, self.eps, self.amsgrad)
        return self.around(method, decoupled=self.decoupled_weight_decay)


class AdamW(TorchOptimizer):
    r"""``torch.optim.AdamW``: Adam with decoupled decay of the weights.

    .. math:: \theta_t = (1 - \eta_t\,\lambda)\,\theta_{t-1}
            - \frac{\eta_t\,m_t / (1 - \beta_1^t)}{\sqrt{v_t / (1 - \beta_2^t)} + \epsilon}

    with :math:`m_t, v_t` of :class:`Adam` without penalty. A schedule of the rate scales the decay
    with it.

    Args:
        lr: learning rate :math:`\eta \ge 0`.
        betas: decays of the mean and of the mean square, :math:`\beta_1, \beta_2 \in [0, 1)`.
        eps: added to the divisor, :math:`\epsilon \ge 0`.
        weight_decay: strength of the weight decay, :math:`\lambda \ge 0`.
        amsgrad: whether to divide by the largest mean square so far.
        maximize: whether to maximize the objective.
        foreach, capturable, differentiable, fused: ignored; see :class:`TorchOptimizer`.

    Raises:
        ValueError: a number is out of its range.

    References:
        Loshchilov & Hutter, arXiv:1711.05101, and torch 2.13, ``torch/optim/adamw.py``.
    """

    lr: Rate = 1e-3
    betas: Betas = (0.9, 0.999)
    eps: NonNegative = 1e-8
    weight_decay: Rate = 1e-2
    amsgrad: Static[bool] = False
    _: dataclasses.KW_ONLY
    maximize: Static[bool] = False
    foreach: Switch = None
    capturable: Switch = False
    differentiable: Switch = False
    fused: Switch = None

    def parts(self) -> tuple[Transform, ...]:
        return self.around(_adam(self.betas, self.eps, self.amsgrad), decoupled=True)
