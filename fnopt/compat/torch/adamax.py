"""torch's Adamax."""

from __future__ import annotations

import dataclasses

from fnopt.compat.torch.base import Switch, TorchOptimizer
from fnopt.core import NonNegative, Rate, Static, Transform
from fnopt.core.ranges import Betas
from fnopt.first_order.adamax import scale_by_adamax


class Adamax(TorchOptimizer):
    r"""``torch.optim.Adamax``: :class:`fnopt.adamax` with an L2 penalty in the gradient.

    .. math:: g_t = \nabla f(\theta_{t-1}) + \lambda\,\theta_{t-1}, \qquad
        w_t = \max(\beta_2\,w_{t-1},\; |g_t| + \epsilon), \qquad
        \theta_t = \theta_{t-1} - \frac{\eta_t}{1 - \beta_1^t}\,\frac{m_t}{w_t}

    Args:
        lr: learning rate :math:`\eta \ge 0`.
        betas: decays of the mean and of the mean square, :math:`\beta_1, \beta_2 \in [0, 1)`.
        eps: added to the magnitude, :math:`\epsilon \ge 0`.
        weight_decay: strength of the weight decay, :math:`\lambda \ge 0`.
        maximize: whether to maximize the objective.
        foreach, differentiable, capturable: ignored; see :class:`TorchOptimizer`.

    Raises:
        ValueError: a number is out of its range.

    References:
        Kingma & Ba, arXiv:1412.6980, Algorithm 2, and torch 2.13, ``torch/optim/adamax.py``.
    """

    lr: Rate = 2e-3
    betas: Betas = (0.9, 0.999)
    eps: NonNegative = 1e-8
    weight_decay: Rate = 0.0
    foreach: Switch = None
    _: dataclasses.KW_ONLY
    maximize: Static[bool] = False
    differentiable: Switch = False
    capturable: Switch = False

    def parts(self) -> tuple[Transform, ...]:
        b1, b2 = self.betas
        return self.around(scale_by_adamax(b1, b2, self.eps))
