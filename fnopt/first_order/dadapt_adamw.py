"""D-Adaptation of AdamW."""

from __future__ import annotations

import dataclasses
from typing import Annotated, Any

import jax
import jax.numpy as jnp
import optax.contrib

from fnopt.core import (
    Joint,
    NonNegative,
    Positive,
    Rate,
    abs_sq,
    bias_correction,
    computing_dtype,
    divide,
    moment,
    real_number,
    real_zeros,
    root,
    vdot,
    zeros,
)
from fnopt.core.checks import Interval
from fnopt.core.schedule import Scheduled


@dataclasses.dataclass(frozen=True)
class _Pair(Scheduled):
    """Two numbers of one range, each a number or a schedule."""

    def accept(self, argument: str, given: Any, default: Any) -> Any:
        if not isinstance(given, (tuple, list)) or len(given) != 2:
            raise TypeError(f"{argument} must be two numbers, got {given!r}")
        return tuple(
            self.accept_number(f"{argument}[{i}]", *pair)
            for i, pair in enumerate(zip(given, default, strict=True))
        )


Betas = Annotated[Any, _Pair(Interval("[0, 1)"))]
"""Two shares of the old in averages, each in [0, 1)."""


def sum_abs(leaves: Any) -> Any:
    """The sum of all magnitudes."""
    return sum(jnp.sum(jnp.abs(leaf)) for leaf in leaves)


class dadapt_adamw(Joint):
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
    older :math:`v_{t-1}` beside the sum is theirs too. The paper has neither. Where all gradients
    were 0, :math:`d` stays.

    Args:
        learning_rate: :math:`\eta \ge 0`, about 1: a schedule with 1 as its peak.
        betas: :math:`\beta_1, \beta_2 \in [0, 1)`.
        eps: :math:`\epsilon \ge 0`.
        estim_lr0: :math:`d_0 > 0`, below the distance to the solution.
        weight_decay: :math:`\omega \ge 0`.

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
    shared = ("estim_lr", "numerator_weighted")
    needs_params = True

    def begin(self, params: list[jax.Array]) -> dict[str, Any]:
        return {
            "estim_lr": real_number(self.estim_lr0, params),
            "numerator_weighted": real_number(0.0, params),
        }

    def slots(self, param: jax.Array) -> dict[str, jax.Array]:
        # Times the estimate, gradients are too small for half precision.
        wide = computing_dtype(param.dtype)
        return {
            "exp_avg": zeros(param, wide),
            "exp_avg_sq": real_zeros(param),
            "grad_sum": zeros(param, wide),
        }

    def once(self, t: Any) -> Any:
        b1, b2 = self.betas
        return root(bias_correction(b2, t)) / bias_correction(b1, t)

    def direct_all(
        self,
        grads: list[jax.Array],
        slots: list[Any],
        params: Any,
        shared: dict[str, Any],
        t: Any,
        **extra_args: Any,
    ) -> Any:
        (b1, b2), estimate = self.betas, shared["estim_lr"]
        slow = b2**0.5
        rate = estimate * self.learning_rate * t
        before = [divide(s.grad_sum, root(s.exp_avg_sq) + self.eps) for s in slots]
        rows = [
            {
                "exp_avg": moment(rate * g, s.exp_avg, b1),
                "exp_avg_sq": moment(abs_sq(g), s.exp_avg_sq, b2),
                "grad_sum": moment(rate * g, s.grad_sum, slow),
            }
            for g, s in zip(grads, slots, strict=True)
        ]
        numerator = moment(rate * vdot(grads, before), shared["numerator_weighted"], slow)
        total = sum_abs(row["grad_sum"] for row in rows)
        found = divide(numerator, (1 - slow) * total)
        directions = [
            -divide(row["exp_avg"], root(row["exp_avg_sq"]) + self.eps)
            - rate * self.weight_decay * p
            for row, p in zip(rows, params, strict=True)
        ]
        new = {"estim_lr": jnp.maximum(estimate, found), "numerator_weighted": numerator}
        return directions, rows, new
