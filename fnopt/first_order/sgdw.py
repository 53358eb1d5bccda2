"""SGDW."""

from __future__ import annotations

from typing import Any

import jax

from fnopt.core import Composed, Context, Decay, Mask, Rate, Rule, Static, Transform
from fnopt.core.types import LeafUpdate, Slots
from fnopt.first_order.heavy_ball import heavy_ball


class _decay_by_rate(Rule):
    r"""Beside a finished step: :math:`u = g - \eta\,\lambda\,\theta`."""

    learning_rate: Rate
    weight_decay: Rate
    mask: Mask = None

    needs_params = True
    elementwise = True

    def update_leaf(self, grad: jax.Array, slots: Slots, param: Any, ctx: Context) -> LeafUpdate:
        return grad - self.learning_rate * self.weight_decay * param, {}


class sgdw(Composed):
    r"""Gradient descent with momentum and decoupled weight decay.

    .. math:: v_t = \mu\,v_{t-1} - \eta_t\,g_t, \qquad
        \Delta\theta_t = v_t - \eta_t\,\lambda\,\theta_{t-1}

    The decay does not go through the momentum, and is multiplied by the rate, as that of
    :class:`adamw`: the paper's :math:`\lambda` is here :math:`\eta\,\lambda` with :math:`\eta` the
    first rate. The rate stands inside the velocity, as in :class:`heavy_ball`.

    Args:
        learning_rate: learning rate :math:`\eta \ge 0`.
        momentum: decay of the velocity, :math:`\mu \in [0, 1)`.
        weight_decay: strength of the weight decay, :math:`\lambda \ge 0`.
        mask: the leaves to decay; all if None.
        nesterov: whether to look ahead along the velocity.

    When:
        Instead of SGD with an L2 penalty: rate and decay can be tuned more independently.

    References:
        Loshchilov & Hutter, *Decoupled weight decay regularization*, ICLR 2019, arXiv:1711.05101,
        Algorithm 1.
    """

    learning_rate: Rate
    momentum: Decay = 0.9
    weight_decay: Rate = 1e-4
    mask: Mask = None
    nesterov: Static[bool] = False
    family = "gradient_descent"
    usual_rate = 0.05

    def parts(self) -> tuple[Transform, ...]:
        return (
            heavy_ball(self.learning_rate, self.momentum, self.nesterov),
            _decay_by_rate(self.learning_rate, self.weight_decay, self.mask),
        )
