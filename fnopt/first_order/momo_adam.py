"""MoMo-Adam."""

from __future__ import annotations

from typing import Any

import jax
import optax.contrib

from fnopt.core import (
    Decay,
    Joint,
    NonNegative,
    Rate,
    Scalar,
    Static,
    abs_sq,
    bias_correction,
    computing_dtype,
    divide,
    moment,
    real_number,
    real_zeros,
    required,
    root,
    vdot,
    zeros,
)
from fnopt.core.schedule import Cap
from fnopt.first_order.momo_model import Model, refuse_decay_without_cap


class momo_adam(Joint):
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
        learning_rate: :math:`\eta \ge 0`, rather large; inf for no limit to the step.
        b1: :math:`\beta_1 \in [0, 1)`.
        b2: :math:`\beta_2 \in [0, 1)`.
        eps: :math:`\epsilon \ge 0`.
        lower_bound: :math:`f_*`, the least value of the loss, or a bound below it.
        weight_decay: :math:`\lambda \ge 0`.
        adapt_lower_bound: estimate the bound on the way, from ``lower_bound`` upward.

    Raises:
        ValueError: an argument is out of its range, or, in ``update``, the loss was not given.

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
    shared = ("barf", "gamma", "lb")
    needs_params = True

    def __post_init__(self) -> None:
        super().__post_init__()
        refuse_decay_without_cap(self)

    def begin(self, params: list[jax.Array]) -> dict[str, Any]:
        return {
            "barf": real_number(0.0, params),
            "gamma": real_number(0.0, params),
            "lb": real_number(self.lower_bound, params),
        }

    def slots(self, param: jax.Array) -> dict[str, jax.Array]:
        return {
            "exp_avg": zeros(param, computing_dtype(param.dtype)),
            "exp_avg_sq": real_zeros(param),
        }

    def once(self, t: Any) -> Any:
        return bias_correction(self.b1, t), bias_correction(self.b2, t)

    def direct_all(
        self,
        grads: list[jax.Array],
        slots: list[Any],
        params: Any,
        shared: dict[str, Any],
        t: Any,
        **extra_args: Any,
    ) -> Any:
        share, share_of_squares = t
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
            divide(row["exp_avg"], root(row["exp_avg_sq"] / share_of_squares) + self.eps)
            for row in rows
        ]
        model = Model(self, barf, gamma, vdot(mean, params), vdot(mean, scaled), share)
        step, bound = model.step(shared["lb"])
        directions = [model.move(p, step * m) for m, p in zip(scaled, params, strict=True)]
        return directions, rows, {"barf": barf, "gamma": gamma, "lb": bound}
