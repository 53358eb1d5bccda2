"""D-Adaptation of AdamW."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import optax.contrib

from fnopt.core import (
    Context,
    NonNegative,
    Positive,
    Rate,
    abs_sq,
    computing_dtype,
    divide,
    moment,
    rate_correction,
    real_zeros,
    root,
    sum_abs,
    vdot,
    zeros,
)
from fnopt.core.ranges import Betas
from fnopt.core.types import Arrays, LeavesUpdate, Numeric, Rows
from fnopt.first_order.distance_estimate import DistanceEstimate


class dadapt_adamw(DistanceEstimate):
    r"""AdamW that estimates its learning rate, the distance :math:`d` to the solution.

    .. math::
        \lambda_t &= d_{t-1}\,\eta_t\,\sqrt{1 - \beta_2^t} / (1 - \beta_1^t) \\
        m_t &= \beta_1\,m_{t-1} + (1 - \beta_1)\,\lambda_t\,g_t, \qquad
        v_t = \beta_2\,v_{t-1} + (1 - \beta_2)\,g_t^2 \\
        r_t &= \sqrt{\beta_2}\,r_{t-1} + (1 - \sqrt{\beta_2})\,\lambda_t
            \sum g_t\,s_{t-1} / (\sqrt{v_{t-1}} + \epsilon) \\
        s_t &= \sqrt{\beta_2}\,s_{t-1} + (1 - \sqrt{\beta_2})\,\lambda_t\,g_t \\
        d_t &= \max\Bigl(d_{t-1},
            \frac{r_t}{(1 - \sqrt{\beta_2})\,\lVert s_t \rVert_1}\Bigr) \\
        \Delta\theta_t &= -m_t / (\sqrt{v_t} + \epsilon)
            - \lambda_t\,\omega\,\theta_{t-1}

    The correction of the bias, an option of the authors' program, is always on, as in optax; the
    older :math:`v_{t-1}` with the sum is theirs too. The paper has neither. Where all gradients
    were 0, :math:`d` stays.

    Args:
        learning_rate: factor of the estimated rate, :math:`\eta \ge 0`: a schedule with 1 as its
            peak.
        betas: decays of the mean and of the mean square, :math:`\beta_1, \beta_2 \in [0, 1)`.
        eps: added to the root, :math:`\epsilon \ge 0`.
        estim_lr0: first estimate, below the distance to the solution, :math:`d_0 > 0`.
        weight_decay: strength of the weight decay, :math:`\omega \ge 0`.

    When:
        AdamW is to run without a tuned rate; the rate only grows, so give a schedule that falls.

    References:
        Defazio & Mishchenko, *Learning-rate-free learning by D-Adaptation*, ICML 2023,
        arXiv:2301.07733, Algorithm 5.
    """

    learning_rate: Rate = 1.0
    betas: Betas = (0.9, 0.999)
    eps: NonNegative = 1e-8
    estim_lr0: Positive = 1e-6
    weight_decay: Rate = 0.0
    family = "rate_free"

    State = optax.contrib.DAdaptAdamWState
    elementwise = True

    def init_leaf(self, param: jax.Array) -> dict[str, jax.Array]:
        # Times the estimate, gradients are too small for half precision.
        wide = computing_dtype(param.dtype)
        return {
            "exp_avg": zeros(param, wide),
            "exp_avg_sq": real_zeros(param),
            "grad_sum": zeros(param, wide),
        }

    def precompute(self, t: Numeric) -> jax.Array:
        b1, b2 = self.betas
        return rate_correction(b1, b2, t)

    def update_leaves(
        self, grads: Arrays, slots: Rows, params: Any, shared: Any, ctx: Context, **extra_args: Any
    ) -> LeavesUpdate:
        (b1, b2), estimate = self.betas, shared["estim_lr"]
        slow = b2**0.5
        rate = estimate * self.learning_rate * ctx.precomputed
        before = [divide(s.grad_sum, root(s.exp_avg_sq), eps=self.eps) for s in slots]
        rows = [
            {
                "exp_avg": moment(rate * g, s.exp_avg, b1),
                "exp_avg_sq": moment(abs_sq(g), s.exp_avg_sq, b2),
                "grad_sum": moment(rate * g, s.grad_sum, slow),
            }
            for g, s in zip(grads, slots, strict=True)
        ]
        numerator = moment(rate * vdot(grads, before), shared["numerator_weighted"], slow)
        total = sum_abs([row["grad_sum"] for row in rows])
        new_estimate = divide(numerator, (1 - slow) * total)
        directions = [
            -divide(row["exp_avg"], root(row["exp_avg_sq"]), eps=self.eps)
            - rate * self.weight_decay * p
            for row, p in zip(rows, params, strict=True)
        ]
        new = {"estim_lr": jnp.maximum(estimate, new_estimate), "numerator_weighted": numerator}
        return directions, rows, new
