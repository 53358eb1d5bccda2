"""D-Adaptation of Lion."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from fnopt.core import (
    Context,
    Positive,
    Rate,
    computing_dtype,
    divide,
    moment,
    sum_abs,
    vdot,
    zeros,
)
from fnopt.core.ranges import Betas
from fnopt.core.types import Arrays, LeavesUpdate, Rows
from fnopt.first_order.distance_estimate import DistanceEstimate


class DAdaptLionState(NamedTuple):
    """The state of D-Adaptation of Lion."""

    exp_avg: Any
    grad_sum: Any
    estim_lr: jax.Array
    numerator_weighted: jax.Array


class dadapt_lion(DistanceEstimate):
    r"""Lion that estimates its learning rate, the distance :math:`d` to the solution.

    .. math::
        \lambda_t &= d_{t-1}\,\eta_t, \qquad
        u_t = \operatorname{sign}(\beta_1\,m_{t-1} + (1 - \beta_1)\,g_t), \qquad
        m_t = \beta_2\,m_{t-1} + (1 - \beta_2)\,\lambda_t\,g_t \\
        r_t &= \sqrt{\beta_2}\,r_{t-1}
            + (1 - \sqrt{\beta_2})\,\lambda_t\,\langle u_t, s_{t-1} \rangle, \qquad
        s_t = \sqrt{\beta_2}\,s_{t-1} + (1 - \sqrt{\beta_2})\,\lambda_t\,u_t \\
        d_t &= \max\Bigl(d_{t-1},
            \frac{r_t}{(1 - \sqrt{\beta_2})\,\lVert s_t \rVert_1}\Bigr), \qquad
        \Delta\theta_t = -\lambda_t\,(u_t + \omega\,\theta_{t-1})

    That the mean :math:`m` alone has the rate in it, and so counts little while the estimate is
    small, is the authors' program's. The paper has no Lion.

    Args:
        learning_rate: factor of the estimated rate, :math:`\eta \ge 0`: a schedule with 1 as its
            peak.
        betas: share of the mean in the direction and decay of the mean,
            :math:`\beta_1, \beta_2 \in [0, 1)`.
        estim_lr0: first estimate, below the distance to the solution, :math:`d_0 > 0`.
        weight_decay: strength of the weight decay, :math:`\omega \ge 0`.

    When:
        Lion is to run without a tuned rate; its authors call it experimental. The rate only grows,
        and steps of a sign do not shrink by themselves: give a schedule that falls.

    References:
        Defazio & Mishchenko, *Learning-rate-free learning by D-Adaptation*, ICML 2023,
        arXiv:2301.07733; their package dadaptation, release 3.2, ``DAdaptLion``.
    """

    learning_rate: Rate = 1.0
    betas: Betas = (0.9, 0.99)
    estim_lr0: Positive = 1e-6
    weight_decay: Rate = 0.0
    family = "rate_free"

    State = DAdaptLionState
    elementwise = True

    def init_leaf(self, param: jax.Array) -> dict[str, jax.Array]:
        # Times the estimate, gradients are too small for half precision.
        wide = computing_dtype(param.dtype)
        return {"exp_avg": zeros(param, wide), "grad_sum": zeros(param, wide)}

    def update_leaves(
        self, grads: Arrays, slots: Rows, params: Any, shared: Any, ctx: Context, **extra_args: Any
    ) -> LeavesUpdate:
        (b1, b2), estimate = self.betas, shared["estim_lr"]
        slow = b2**0.5
        rate = estimate * self.learning_rate
        signs = [jnp.sign(moment(g, s.exp_avg, b1)) for g, s in zip(grads, slots, strict=True)]
        along = vdot(signs, [s.grad_sum for s in slots])
        numerator = moment(rate * along, shared["numerator_weighted"], slow)
        rows = [
            {
                "exp_avg": moment(rate * g, s.exp_avg, b2),
                "grad_sum": moment(rate * sign, s.grad_sum, slow),
            }
            for g, sign, s in zip(grads, signs, slots, strict=True)
        ]
        total = sum_abs([row["grad_sum"] for row in rows])
        new_estimate = divide(numerator, (1 - slow) * total)
        directions = [
            -rate * (sign + self.weight_decay * p) for sign, p in zip(signs, params, strict=True)
        ]
        new = {"estim_lr": jnp.maximum(estimate, new_estimate), "numerator_weighted": numerator}
        return directions, rows, new
