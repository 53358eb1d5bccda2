"""torch's RAdam."""

from __future__ import annotations

import dataclasses

from fnopt.compat.torch.base import Switch, TorchOptimizer
from fnopt.core import NonNegative, Rate, Static, Transform
from fnopt.core.ranges import Betas
from fnopt.first_order.radam import scale_by_radam


class RAdam(TorchOptimizer):
    r"""``torch.optim.RAdam``: :class:`fnopt.radam` with :math:`\epsilon` added to another root.

    .. math:: \theta_t = \theta_{t-1} - \eta_t\,\hat m_t\,\cdot\,\begin{cases}
        r_t\,\sqrt{1 - \beta_2^t} / (\sqrt{v_t} + \epsilon) & \rho_t > 5 \\
        1 & \text{else}\end{cases}

    with :math:`r_t, \rho_t` of :class:`fnopt.scale_by_radam`, of
    :math:`g_t = \nabla f(\theta_{t-1}) + \lambda\,\theta_{t-1}`; with ``decoupled_weight_decay``
    the weights are decayed by :math:`\eta_t\,\lambda` separately.

    Args:
        lr: learning rate :math:`\eta \ge 0`.
        betas: decays of the mean and of the mean square, :math:`\beta_1, \beta_2 \in [0, 1)`.
        eps: added to the root before :math:`v_t` is corrected, :math:`\epsilon \ge 0`.
        weight_decay: strength of the weight decay, :math:`\lambda \ge 0`.
        decoupled_weight_decay: whether to decay the weights directly, not in the gradient.
        maximize: whether to maximize the objective.
        foreach, capturable, differentiable: ignored; see :class:`TorchOptimizer`.

    Raises:
        ValueError: a number is out of its range.

    References:
        Liu et al., arXiv:1908.03265, Algorithm 2, and torch 2.13, ``torch/optim/radam.py``.
    """

    lr: Rate = 1e-3
    betas: Betas = (0.9, 0.999)
    eps: NonNegative = 1e-8
    weight_decay: Rate = 0.0
    decoupled_weight_decay: Static[bool] = False
    _: dataclasses.KW_ONLY
    foreach: Switch = None
    maximize: Static[bool] = False
    capturable: Switch = False
    differentiable: Switch = False

    def parts(self) -> tuple[Transform, ...]:
        b1, b2 = self.betas
        method = scale_by_radam(b1, b2, self.eps, eps_before_correction=True)
        return self.around(method, decoupled=self.decoupled_weight_decay)
