"""RMSProp, plain and centered."""

from __future__ import annotations

from fnopt.core import (
    Composed,
    Decay,
    NonNegative,
    Rate,
    Static,
    Transform,
    identity,
    scale_by_learning_rate,
    trace,
)
from fnopt.first_order.rms import scale_by_rms, scale_by_stddev


class rmsprop(Composed):
    r"""RMSProp: steps divided by the recent magnitude of the gradient, weight by weight.

    .. math:: \nu_t = \beta\,\nu_{t-1} + (1 - \beta)\,g_t^2, \qquad
        \Delta\theta_t = -\eta_t\,g_t / \sqrt{\nu_t + \epsilon}

    Momentum, if used, is that of the steps: :math:`v_t = \Delta\theta_t + \mu\,v_{t-1}`.

    Args:
        learning_rate: learning rate :math:`\eta \ge 0`.
        decay: decay of the average, :math:`\beta \in [0, 1)`.
        eps: added under the root, :math:`\epsilon \ge 0`.
        initial_scale: initial mean square, :math:`\nu_0 \ge 0`.
        eps_in_sqrt: whether :math:`\epsilon` is in the root; False adds it to the root, as torch
            and Keras do.
        centered: whether to divide by the standard deviation, see :class:`scale_by_stddev`.
        momentum: decay of the velocity, :math:`\mu \in [0, 1)`; no velocity if None.
        nesterov: whether to look ahead along the velocity.
        bias_correction: whether to divide the averages by :math:`1 - \beta^t`.

    When:
        Objectives that move, as in reinforcement learning, and recurrent networks; without
        momentum it has one slot less than :class:`adam`.

    References:
        Tieleman & Hinton, *Lecture 6.5: rmsprop*, Neural Networks for Machine Learning, 2012;
        Graves 2013, arXiv:1308.0850, eqs. 38-45.
    """

    learning_rate: Rate
    decay: Decay = 0.9
    eps: NonNegative = 1e-8
    initial_scale: NonNegative = 0.0
    eps_in_sqrt: Static[bool] = True
    centered: Static[bool] = False
    momentum: Decay = None
    nesterov: Static[bool] = False
    bias_correction: Static[bool] = False
    family = "adaptive"

    def parts(self) -> tuple[Transform, ...]:
        divide = scale_by_stddev if self.centered else scale_by_rms
        return (
            divide(
                self.decay, self.eps, self.initial_scale, self.eps_in_sqrt, self.bias_correction
            ),
            scale_by_learning_rate(self.learning_rate),
            identity() if self.momentum is None else trace(self.momentum, self.nesterov),
        )
