"""Prodigy."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import optax.contrib

from fnopt.core import (
    Context,
    Decay,
    NonNegative,
    Positive,
    Rate,
    Static,
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


class prodigy(DistanceEstimate):
    r"""AdamW that estimates its learning rate :math:`d`, and faster than D-Adaptation.

    .. math::
        \lambda_t &= d_{t-1}\,\eta_t\,\sqrt{1 - \beta_2^t} / (1 - \beta_1^t) \\
        m_t &= \beta_1\,m_{t-1} + (1 - \beta_1)\,d_{t-1}\,g_t, \qquad
        v_t = \beta_2\,v_{t-1} + (1 - \beta_2)\,d_{t-1}^2\,g_t^2 \\
        r_t &= \beta_3\,r_{t-1}
            + \tfrac{d_{t-1}}{d_0}\,\lambda_t\,\langle g_t, \theta_0 - \theta_{t-1} \rangle, \qquad
        s_t = \beta_3\,s_{t-1} + \tfrac{d_{t-1}}{d_0}\,\lambda_t\,g_t \\
        d_t &= \max(d_{t-1}, c\,r_t / \lVert s_t \rVert_1) \\
        \Delta\theta_t &= -\lambda_t\,\bigl(
            m_t / (\sqrt{v_t} + d_{t-1}\,\epsilon) + \omega\,\theta_{t-1}\bigr)

    The correction of the bias is optax's, always on; in the authors' program it is an option, off
    by default. Beside :math:`\epsilon` optax has :math:`d_t`,
    the paper :math:`d_{t-1}`. Where all gradients were 0, :math:`d` stays.

    Args:
        learning_rate: factor of the estimated rate, :math:`\eta \ge 0`: a schedule with 1 as its
            peak.
        betas: decays of the mean and of the mean square, :math:`\beta_1, \beta_2 \in [0, 1)`.
        beta3: decay of the sums in the estimate, :math:`\beta_3 \in [0, 1)`; :math:`\sqrt{\beta_2}`
            if None.
        eps: added to the root, :math:`\epsilon \ge 0`.
        estim_lr0: :math:`d_0 > 0`, below the distance to the solution, and large enough for a step
            of this size to move the parameters: in half precision 1e-6 is not.
        estim_lr_coef: factor of the estimate, :math:`c > 0`.
        weight_decay: strength of the weight decay, :math:`\omega \ge 0`.
        safeguard_warmup: :math:`d_{t-1}` for :math:`\lambda_t` in :math:`s`, so that a warm-up of
            :math:`\eta` does not make the estimate too large.

    When:
        AdamW is to run without a tuned rate; the first of its kind to try. The rate only grows, so
        give a schedule that falls.

    References:
        Mishchenko & Defazio, *Prodigy: an expeditiously adaptive parameter-free learner*, ICML
        2024, arXiv:2306.06101, Algorithm 4.
    """

    learning_rate: Rate = 1.0
    betas: Betas = (0.9, 0.999)
    beta3: Decay = None
    eps: NonNegative = 1e-8
    estim_lr0: Positive = 1e-6
    estim_lr_coef: Positive = 1.0
    weight_decay: Rate = 0.0
    safeguard_warmup: Static[bool] = False
    family = "rate_free"

    State = optax.contrib.ProdigyState
    elementwise = True

    def init_leaf(self, param: jax.Array) -> dict[str, jax.Array]:
        # Times the estimate, gradients are too small for half precision.
        wide = computing_dtype(param.dtype)
        return {
            "exp_avg": zeros(param, wide),
            "exp_avg_sq": real_zeros(param),
            "grad_sum": zeros(param, wide),
            "params0": jnp.array(param),
        }

    def precompute(self, t: Numeric) -> jax.Array:
        b1, b2 = self.betas
        return rate_correction(b1, b2, t)

    def update_leaves(
        self, grads: Arrays, slots: Rows, params: Any, shared: Any, ctx: Context, **extra_args: Any
    ) -> LeavesUpdate:
        (b1, b2), d = self.betas, shared["estim_lr"]
        slow = b2**0.5 if self.beta3 is None else self.beta3
        rate = d * self.learning_rate * ctx.precomputed
        weight = d / self.estim_lr0
        rows = [
            {
                "exp_avg": moment(d * g, s.exp_avg, b1),
                "exp_avg_sq": moment(abs_sq(d * g), s.exp_avg_sq, b2),
                "grad_sum": slow * s.grad_sum + weight * (d if self.safeguard_warmup else rate) * g,
                "params0": s.params0,
            }
            for g, s in zip(grads, slots, strict=True)
        ]
        along = vdot(grads, [s.params0 - p for s, p in zip(slots, params, strict=True)])
        numerator = slow * shared["numerator_weighted"] + weight * rate * along
        total = sum_abs([row["grad_sum"] for row in rows])
        new_estimate = divide(self.estim_lr_coef * numerator, total)
        # The next estimate has this NaN too. Without a step that waits for the sum, XLA copies the
        # parameters, for the sum to read when the step has written over them.
        rate = jnp.where(jnp.isnan(numerator), numerator, rate)
        least = self.eps * self.estim_lr0
        directions = [
            -rate * divide(row["exp_avg"], root(row["exp_avg_sq"]) + d * self.eps, least=least)
            - rate * self.weight_decay * p
            for row, p in zip(rows, params, strict=True)
        ]
        return (
            directions,
            rows,
            {"estim_lr": jnp.maximum(d, new_estimate), "numerator_weighted": numerator},
        )
