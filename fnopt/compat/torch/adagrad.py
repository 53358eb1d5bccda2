"""torch's Adagrad."""

from __future__ import annotations

import dataclasses
from typing import Annotated, Any

from fnopt.compat.torch.base import OffAtZero, Switch, TorchOptimizer
from fnopt.core import NonNegative, Rate, Static, Transform, scale_by_schedule
from fnopt.core.checks import Interval
from fnopt.first_order.adagrad import scale_by_rss
from fnopt.schedule.exponential import inverse_time_decay


class Adagrad(TorchOptimizer):
    r"""``torch.optim.Adagrad``, whose rate may fall with time as well.

    .. math:: g_t = \nabla f(\theta_{t-1}) + \lambda\,\theta_{t-1}, \qquad
        s_t = s_{t-1} + g_t^2, \qquad
        \theta_t = \theta_{t-1}
            - \frac{\eta_t}{1 + (t - 1)\,\delta}\,\frac{g_t}{\sqrt{s_t} + \epsilon}

    Args:
        lr: learning rate :math:`\eta \ge 0`.
        lr_decay: decay of the rate, :math:`\delta \ge 0`, a number and no schedule.
        weight_decay: strength of the weight decay, :math:`\lambda \ge 0`.
        initial_accumulator_value: initial sum, :math:`s_0 \ge 0`.
        eps: added to the root, :math:`\epsilon \ge 0`.
        maximize: whether to maximize the objective.
        foreach, differentiable, fused: ignored; see :class:`TorchOptimizer`.

    Raises:
        ValueError: a number is out of its range.

    References:
        Duchi, Hazan & Singer, JMLR 12, 2011, and torch 2.13, ``torch/optim/adagrad.py``.
    """

    lr: Rate = 1e-2
    lr_decay: Annotated[Any, OffAtZero(Interval("[0, inf)"))] = 0
    weight_decay: Rate = 0.0
    initial_accumulator_value: NonNegative = 0.0
    eps: NonNegative = 1e-10
    foreach: Switch = None
    _: dataclasses.KW_ONLY
    maximize: Static[bool] = False
    differentiable: Switch = False
    fused: Switch = None

    def parts(self) -> tuple[Transform, ...]:
        divided = scale_by_rss(self.initial_accumulator_value, self.eps, eps_in_sqrt=False)
        if self.lr_decay is None:
            return self.around(divided)
        return self.around(divided, scale_by_schedule(inverse_time_decay(1.0, 1, self.lr_decay)))
