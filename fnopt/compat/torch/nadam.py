"""torch's NAdam."""

from __future__ import annotations

import dataclasses
from typing import Any, NamedTuple

import jax

from fnopt.compat.torch.base import Switch, TorchOptimizer
from fnopt.core import (
    Context,
    Decay,
    Joint,
    NonNegative,
    Rate,
    Static,
    Transform,
    abs_sq,
    bias_correction,
    moment,
    real_number,
    real_zeros,
    root,
    zeros,
)
from fnopt.core.ranges import Betas
from fnopt.core.types import Arrays, LeavesUpdate, Rows


class ScaleByNadamState(NamedTuple):
    r"""The state of :class:`scale_by_nadam`.

    Attributes:
        count: number of updates so far.
        mu_product: product of all momenta so far, :math:`\prod_{i \le t} \mu_i`.
        mu, nu: the averages of gradients and of their squares.
    """

    count: jax.Array
    mu_product: jax.Array
    mu: Any
    nu: Any


class scale_by_nadam(Joint):
    r"""Adam's direction with Nesterov's momentum, which grows by the paper's schedule.

    .. math::
        \mu_t &= \beta_1\,(1 - \tfrac12\,0.96^{t\,\psi}), \\
        u_t &= \frac{1}{\sqrt{\hat v_t} + \epsilon} \Bigl(
            \frac{\mu_{t+1}\,m_t}{1 - \prod_{i=1}^{t+1} \mu_i}
            + \frac{(1 - \mu_t)\,g_t}{1 - \prod_{i=1}^{t} \mu_i} \Bigr)

    Args:
        b1: largest decay of the mean, :math:`\beta_1 \in [0, 1)`.
        b2: decay of the mean square, :math:`\beta_2 \in [0, 1)`.
        eps: added to the divisor, :math:`\epsilon \ge 0`.
        momentum_decay: speed at which the momentum grows, :math:`\psi \ge 0`.

    References:
        Dozat, *Incorporating Nesterov momentum into Adam*, ICLR workshop 2016, Algorithm 2.
    """

    b1: Decay
    b2: Decay
    eps: NonNegative
    momentum_decay: NonNegative

    State = ScaleByNadamState
    shared = ("mu_product",)
    leafwise = elementwise = keeps_zero = True

    def init_shared(self, params: Arrays) -> dict[str, Any]:
        return {"mu_product": real_number(1.0, params)}

    def init_leaf(self, param: jax.Array) -> dict[str, jax.Array]:
        return {"mu": zeros(param), "nu": real_zeros(param)}

    def update_leaves(
        self, grads: Arrays, slots: Rows, params: Any, shared: Any, ctx: Context, **extra_args: Any
    ) -> LeavesUpdate:
        def momentum(t: Any) -> Any:
            return self.b1 * (1 - 0.5 * 0.96 ** (t * self.momentum_decay))

        now, following = momentum(ctx.t), momentum(ctx.t + 1)
        product = shared["mu_product"] * now
        correction = bias_correction(self.b2, ctx.t)
        directions, rows = [], []
        for grad, slot in zip(grads, slots, strict=True):
            mu = moment(grad, slot.mu, self.b1)
            nu = moment(abs_sq(grad), slot.nu, self.b2)
            ahead = following / (1 - product * following) * mu + (1 - now) / (1 - product) * grad
            directions.append(ahead / (root(nu / correction) + self.eps))
            rows.append({"mu": mu, "nu": nu})
        return directions, rows, {"mu_product": product}


class NAdam(TorchOptimizer):
    r"""``torch.optim.NAdam``: Adam with Nesterov's momentum by the paper's schedule.

    .. math:: \theta_t = \theta_{t-1} - \eta_t\,u_t, \qquad u_t
        \text{ of } g_t = \nabla f(\theta_{t-1}) + \lambda\,\theta_{t-1}

    with the direction of :class:`scale_by_nadam`; with ``decoupled_weight_decay``,
    :math:`\theta_t = (1 - \eta_t\,\lambda)\,\theta_{t-1} - \eta_t\,u_t`.

    Args:
        lr: learning rate :math:`\eta \ge 0`.
        betas: decays of the mean and of the mean square, :math:`\beta_1, \beta_2 \in [0, 1)`.
        eps: added to the divisor, :math:`\epsilon \ge 0`.
        weight_decay: strength of the weight decay, :math:`\lambda \ge 0`.
        momentum_decay: how fast the momentum grows from half of :math:`\beta_1` to all of it,
            :math:`\psi \ge 0`.
        decoupled_weight_decay: whether to decay the weights directly, not in the gradient.
        maximize: whether to maximize the objective.
        foreach, capturable, differentiable: ignored; see :class:`TorchOptimizer`.

    Raises:
        ValueError: a number is out of its range.

    References:
        Dozat, ICLR workshop 2016, Algorithm 2, and torch 2.13, ``torch/optim/nadam.py``.
    """

    lr: Rate = 2e-3
    betas: Betas = (0.9, 0.999)
    eps: NonNegative = 1e-8
    weight_decay: Rate = 0.0
    momentum_decay: NonNegative = 4e-3
    decoupled_weight_decay: Static[bool] = False
    _: dataclasses.KW_ONLY
    foreach: Switch = None
    maximize: Static[bool] = False
    capturable: Switch = False
    differentiable: Switch = False

    def parts(self) -> tuple[Transform, ...]:
        b1, b2 = self.betas
        method = scale_by_nadam(b1, b2, self.eps, self.momentum_decay)
        return self.around(method, decoupled=self.decoupled_weight_decay)
