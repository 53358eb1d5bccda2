"""torch's RMSprop."""

from __future__ import annotations

from fnopt.compat.torch.base import Momentum, Switch, TorchOptimizer
from fnopt.core import Decay, NonNegative, Rate, Static, Transform, trace
from fnopt.first_order.rms import scale_by_rms, scale_by_stddev


class RMSprop(TorchOptimizer):
    r"""``torch.optim.RMSprop``, with momentum of directions, not of steps.

    .. math::
        g_t &= \nabla f(\theta_{t-1}) + \lambda\,\theta_{t-1}, &
        v_t &= \alpha\,v_{t-1} + (1 - \alpha)\,g_t^2 \\
        b_t &= \mu\,b_{t-1} + g_t / (\sqrt{v_t} + \epsilon), &
        \theta_t &= \theta_{t-1} - \eta_t\,b_t

    with :math:`v_t - \bar g_t^2` under the root if ``centered``, where :math:`\bar g` is the
    average of gradients; rounding makes torch's negative at times, and then NaN, here it is 0.

    Args:
        lr: learning rate :math:`\eta \ge 0`.
        alpha: decay of the mean square, :math:`\alpha \in [0, 1)`.
        eps: added to the root, :math:`\epsilon \ge 0`.
        weight_decay: strength of the weight decay, :math:`\lambda \ge 0`.
        momentum: decay of the velocity, :math:`\mu \in [0, 1]`; no velocity is stored if 0.
        centered: whether to divide by the standard deviation.
        maximize: whether to maximize the objective.
        capturable, foreach, differentiable: ignored; see :class:`TorchOptimizer`.

    Raises:
        ValueError: a number is out of its range.

    References:
        Tieleman & Hinton 2012; Graves, arXiv:1308.0850; torch 2.13, ``torch/optim/rmsprop.py``.
    """

    lr: Rate = 1e-2
    alpha: Decay = 0.99
    eps: NonNegative = 1e-8
    weight_decay: Rate = 0.0
    momentum: Momentum = 0
    centered: Static[bool] = False
    capturable: Switch = False
    foreach: Switch = None
    maximize: Static[bool] = False
    differentiable: Switch = False

    def parts(self) -> tuple[Transform, ...]:
        divide = scale_by_stddev if self.centered else scale_by_rms
        divided = divide(self.alpha, self.eps, eps_in_sqrt=False)
        return self.around(divided, *(() if self.momentum is None else (trace(self.momentum),)))
