"""MoMo: momentum with a step from a model of the loss."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import optax.contrib

from fnopt.core import (
    Context,
    Decay,
    Rate,
    Scalar,
    Static,
    computing_dtype,
    moment,
    required,
    vdot,
    zeros,
)
from fnopt.core.ranges import Cap
from fnopt.core.types import Arrays, LeavesUpdate, Numeric, Rows
from fnopt.first_order.momo_model import Model, ModelOfLoss


class momo(ModelOfLoss):
    r"""MoMo: momentum whose step is bounded by what is left of the loss.

    .. math::
        \bar f_t &= \beta\,\bar f_{t-1} + (1 - \beta)\,f_t, \qquad
        d_t = \beta\,d_{t-1} + (1 - \beta)\,g_t, \qquad
        \gamma_t = \beta\,\gamma_{t-1} + (1 - \beta)\,\langle g_t, \theta_{t-1} \rangle \\
        \tau_t &= \min\Bigl(\eta_t, \frac{\bigl((1 + \eta_t\,\lambda)\,(\bar f_t - f_* - \gamma_t)
            + \langle d_t, \theta_{t-1} \rangle\bigr)_+}{\lVert d_t \rVert^2}\Bigr), \qquad
        \theta_t = \frac{\theta_{t-1} - \tau_t\,d_t}{1 + \eta_t\,\lambda}

    The averages start at their first values. ``update`` needs ``value``, the loss of this batch.

    optax does not divide the step by :math:`1 + \eta\,\lambda`; the paper, from whose
    model :math:`\tau` is derived, and its authors' program do.

    Args:
        learning_rate: largest step, :math:`\eta \ge 0`, rather large; inf for no limit.
        beta: decay of the averages, :math:`\beta \in [0, 1)`.
        lower_bound: smallest value of the loss, or a bound below it, :math:`f_*`.
        weight_decay: strength of the weight decay, :math:`\lambda \ge 0`.
        adapt_lower_bound: whether to estimate the bound during the run, from ``lower_bound``
            upward.

    Raises:
        ValueError: an argument is out of its range, or, in ``update``, the loss is missing.

    When:
        The least loss is about known, 0 for most, and the rate is not: one too large does little
        harm.

    References:
        Schaipp, Ohana, Eickenberg, Defazio & Gower, *MoMo: momentum models for adaptive learning
        rates*, ICML 2024, arXiv:2305.07583, Algorithm 1, with its weight decay and lower bound.
    """

    learning_rate: Cap = 1.0
    beta: Decay = 0.9
    lower_bound: Scalar = 0.0
    weight_decay: Rate = 0.0
    adapt_lower_bound: Static[bool] = False
    family = "rate_free"

    State = optax.contrib.MomoState
    elementwise = True

    def init_leaf(self, param: jax.Array) -> dict[str, jax.Array]:
        return {"exp_avg": zeros(param, computing_dtype(param.dtype))}

    def precompute(self, t: Numeric) -> Any:
        return jnp.where(t == 1, 0.0, self.beta)

    def update_leaves(
        self, grads: Arrays, slots: Rows, params: Any, shared: Any, ctx: Context, **extra_args: Any
    ) -> LeavesUpdate:
        value = required(self, "value", extra_args.get("value"))
        beta = ctx.precomputed
        barf = moment(value, shared["barf"], beta)
        gamma = moment(vdot(grads, params), shared["gamma"], beta)
        mean = [moment(g, s.exp_avg, beta) for g, s in zip(grads, slots, strict=True)]
        model = Model(self, barf, gamma, vdot(mean, params), vdot(mean, mean), 1.0)
        step, bound = model.step(shared["lb"])
        directions = [model.move(p, step * m) for m, p in zip(mean, params, strict=True)]
        rows = [{"exp_avg": m} for m in mean]
        return directions, rows, {"barf": barf, "gamma": gamma, "lb": bound}
