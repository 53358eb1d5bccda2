"""MoMo-Adam."""

from __future__ import annotations

from typing import Any

import jax
import optax.contrib

from fnopt.core import (
    Context,
    Corrections,
    Decay,
    NonNegative,
    Rate,
    Scalar,
    Static,
    abs_sq,
    bias_corrections,
    computing_dtype,
    divide,
    moment,
    real_zeros,
    required,
    root,
    vdot,
    zeros,
)
from fnopt.core.ranges import Cap
from fnopt.core.types import Arrays, LeavesUpdate, Numeric, Rows
from fnopt.first_order.momo_model import Model, ModelOfLoss


class momo_adam(ModelOfLoss):
    r"""MoMo-Adam: AdamW whose step is bounded by what is left of the loss.

    .. math::
        \bar f_t &= \beta_1\,\bar f_{t-1} + (1 - \beta_1)\,f_t, \qquad
        \gamma_t = \beta_1\,\gamma_{t-1} + (1 - \beta_1)\,\langle g_t, \theta_{t-1} \rangle \\
        d_t &= \beta_1\,d_{t-1} + (1 - \beta_1)\,g_t, \qquad
        v_t = \beta_2\,v_{t-1} + (1 - \beta_2)\,g_t^2, \qquad
        D_t = \sqrt{v_t / (1 - \beta_2^t)} + \epsilon, \qquad \rho_t = 1 - \beta_1^t \\
        \tau_t &= \min\Bigl(\frac{\eta_t}{\rho_t},
            \frac{\bigl((1 + \eta_t\,\lambda)\,(\bar f_t - \rho_t\,f_* - \gamma_t)
            + \langle d_t, \theta_{t-1} \rangle\bigr)_+}{\langle d_t, d_t / D_t \rangle}\Bigr),
        \qquad
        \theta_t = \frac{\theta_{t-1} - \tau_t\,d_t / D_t}{1 + \eta_t\,\lambda}

    The averages start at 0. ``update`` needs ``value``, the loss of this batch.

    optax does not divide the step by :math:`1 + \eta\,\lambda`; the paper, from whose
    model :math:`\tau` is derived, and its authors' program do.

    Args:
        learning_rate: largest step, :math:`\eta \ge 0`, rather large; inf for no limit.
        b1: decay of the mean, :math:`\beta_1 \in [0, 1)`.
        b2: decay of the mean square, :math:`\beta_2 \in [0, 1)`.
        eps: added to the root, :math:`\epsilon \ge 0`.
        lower_bound: smallest value of the loss, or a bound below it, :math:`f_*`.
        weight_decay: strength of the weight decay, :math:`\lambda \ge 0`.
        adapt_lower_bound: whether to estimate the bound during the run, from ``lower_bound``
            upward.

    Raises:
        ValueError: an argument is out of its range, or, in ``update``, the loss is missing.

    When:
        Adam suits, the least loss is about known, 0 for most, and the rate is not: one too large
        does little harm.

    References:
        Schaipp, Ohana, Eickenberg, Defazio & Gower, *MoMo: momentum models for adaptive learning
        rates*, ICML 2024, arXiv:2305.07583, Algorithm 2, with its lower bound.
    """

    learning_rate: Cap = 1e-2
    b1: Decay = 0.9
    b2: Decay = 0.999
    eps: NonNegative = 1e-8
    lower_bound: Scalar = 0.0
    weight_decay: Rate = 0.0
    adapt_lower_bound: Static[bool] = False
    family = "rate_free"

    State = optax.contrib.MomoAdamState
    elementwise = True

    def init_leaf(self, param: jax.Array) -> dict[str, jax.Array]:
        return {
            "exp_avg": zeros(param, computing_dtype(param.dtype)),
            "exp_avg_sq": real_zeros(param),
        }

    def precompute(self, t: Numeric) -> Corrections:
        return bias_corrections(self.b1, self.b2, t)

    def update_leaves(
        self, grads: Arrays, slots: Rows, params: Any, shared: Any, ctx: Context, **extra_args: Any
    ) -> LeavesUpdate:
        corrections = ctx.precomputed
        value = required(self, "value", extra_args.get("value"))
        barf = moment(value, shared["barf"], self.b1)
        gamma = moment(vdot(grads, params), shared["gamma"], self.b1)
        rows = [
            {
                "exp_avg": moment(g, s.exp_avg, self.b1),
                "exp_avg_sq": moment(abs_sq(g), s.exp_avg_sq, self.b2),
            }
            for g, s in zip(grads, slots, strict=True)
        ]
        mean = [row["exp_avg"] for row in rows]
        scaled = [
            divide(row["exp_avg"], root(row["exp_avg_sq"] / corrections.nu), eps=self.eps)
            for row in rows
        ]
        model = Model(self, barf, gamma, vdot(mean, params), vdot(mean, scaled), corrections.mu)
        step, bound = model.step(shared["lb"])
        directions = [model.move(p, step * m) for m, p in zip(scaled, params, strict=True)]
        return directions, rows, {"barf": barf, "gamma": gamma, "lb": bound}
