"""torch's Adadelta."""

from __future__ import annotations

import dataclasses

from fnopt.compat.torch.base import Switch, TorchOptimizer
from fnopt.core import Decay, NonNegative, Rate, Static, Transform
from fnopt.first_order.adadelta import scale_by_adadelta


class Adadelta(TorchOptimizer):
    r"""``torch.optim.Adadelta``: :class:`fnopt.adadelta` with torch's names and rate of 1.

    .. math:: g_t = \nabla f(\theta_{t-1}) + \lambda\,\theta_{t-1}, \qquad
        \theta_t = \theta_{t-1} - \eta_t\,
        \frac{\sqrt{E[\Delta^2]_{t-1} + \epsilon}}{\sqrt{E[g^2]_t + \epsilon}}\,g_t

    Args:
        lr: learning rate :math:`\eta \ge 0`.
        rho: decay of both averages, :math:`\rho \in [0, 1)` (torch accepts 1, which never moves
            them).
        eps: added under both roots, :math:`\epsilon \ge 0`.
        weight_decay: strength of the weight decay, :math:`\lambda \ge 0`.
        maximize: whether to maximize the objective.
        foreach, capturable, differentiable: ignored; see :class:`TorchOptimizer`.

    Raises:
        ValueError: a number is out of its range.

    References:
        Zeiler, arXiv:1212.5701, Algorithm 1, and torch 2.13, ``torch/optim/adadelta.py``.
    """

    lr: Rate = 1.0
    rho: Decay = 0.9
    eps: NonNegative = 1e-6
    weight_decay: Rate = 0.0
    foreach: Switch = None
    _: dataclasses.KW_ONLY
    capturable: Switch = False
    maximize: Static[bool] = False
    differentiable: Switch = False

    def parts(self) -> tuple[Transform, ...]:
        return self.around(scale_by_adadelta(self.rho, self.eps))
