"""torch's ASGD."""

from __future__ import annotations

from fnopt.compat.torch.base import Switch, TorchOptimizer, delayed
from fnopt.core import NonNegative, Rate, Schedule, Static, Transform, add_l2
from fnopt.first_order.asgd import asgd


class ASGD(TorchOptimizer):
    r"""``torch.optim.ASGD``: :class:`fnopt.asgd` as torch counts its updates.

    .. math::
        \theta_t &= (1 - \lambda\,\eta_t)\,\theta_{t-1} - \eta_t\,g_t, &
        \eta_{t+1} &= \frac{\eta}{(1 + \lambda\,\eta\,t)^\alpha}, \qquad \eta_1 = \eta \\
        \bar\theta_t &= \bar\theta_{t-1} + \mu_t\,(\theta_t - \bar\theta_{t-1}), &
        \mu_{t+1} &= 1 / \max(1, t - t_0), \qquad \mu_1 = 1

    torch makes :math:`\eta_{t+1}` at the end of step :math:`t`, so a schedule of ``lr`` acts one
    update late, here as there. :func:`fnopt.asgd_eval_params` gives the average, torch's ``ax``.

    Args:
        lr: learning rate :math:`\eta \ge 0`.
        lambd: decay of the weights and of the rate, :math:`\lambda \ge 0`.
        alpha: power by which the rate falls, :math:`\alpha \ge 0`.
        t0: number of updates before the averaging, :math:`t_0 \ge 0`.
        weight_decay: strength of an L2 penalty in the gradient, at least 0.
        maximize: whether to maximize the objective.
        foreach, differentiable, capturable: ignored; see :class:`TorchOptimizer`.

    Raises:
        ValueError: a number is out of its range.

    References:
        Polyak & Juditsky 1992, doi:10.1137/0330046, and torch 2.13, ``torch/optim/asgd.py``.
    """

    lr: Rate = 1e-2
    lambd: NonNegative = 1e-4
    alpha: NonNegative = 0.75
    t0: NonNegative = 1e6
    weight_decay: Rate = 0.0
    foreach: Switch = None
    maximize: Static[bool] = False
    differentiable: Switch = False
    capturable: Switch = False

    def parts(self) -> tuple[Transform, ...]:
        rate = delayed(self.lr, 1) if isinstance(self.lr, Schedule) else self.lr
        # Its mean leaves out one more of the parameters than fnopt's.
        averaging = asgd(rate, self.lambd, self.alpha, self.t0 + 1)
        return *self.climbing(), add_l2(self.weight_decay), averaging
