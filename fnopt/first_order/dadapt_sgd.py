"""D-Adaptation of gradient descent."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from fnopt.core import (
    Context,
    Decay,
    Positive,
    Rate,
    computing_dtype,
    divide,
    global_norm,
    real_number,
    vdot,
    zeros,
)
from fnopt.core.types import Arrays, LeavesUpdate, Rows
from fnopt.first_order.distance_estimate import DistanceEstimate


class DAdaptSGDState(NamedTuple):
    """The state of D-Adaptation of gradient descent."""

    z: Any
    grad_sum: Any
    estim_lr: jax.Array
    numerator_weighted: jax.Array
    grad_norm: jax.Array


class dadapt_sgd(DistanceEstimate):
    r"""Gradient descent that estimates its rate from the distance :math:`d` to the solution.

    .. math::
        \lambda_t &= d_{t-1}\,\eta_t / \lVert g_1 \rVert, \qquad
        r_t = r_{t-1} + \lambda_t\,\langle g_t, s_{t-1} \rangle \\
        s_t &= s_{t-1} + \lambda_t\,g_t, \qquad z_t = z_{t-1} - \lambda_t\,g_t, \qquad
        \theta_t = \beta\,\theta_{t-1} + (1 - \beta)\,z_t \\
        d_t &= \max(d_{t-1}, 2\,r_t / \lVert s_t \rVert)

    with :math:`z_0 = \theta_0`, and :math:`g + \omega\,\theta` for :math:`g` where weights decay.
    :math:`g_1` is the first gradient that is not 0. The authors' program has no momentum by
    default, and leaves the decay out of :math:`\lVert g_1 \rVert`.

    Args:
        learning_rate: factor of the estimated rate, :math:`\eta \ge 0`: a schedule with 1 as its
            peak.
        momentum: weight of the last parameters, :math:`\beta \in [0, 1)`.
        estim_lr0: first estimate, below the distance to the solution, :math:`d_0 > 0`.
        weight_decay: strength of an L2 penalty, :math:`\omega \ge 0`.

    When:
        Gradient descent with momentum is known to suit and its rate is not; the rate only grows,
        so give a schedule that falls.

    References:
        Defazio & Mishchenko, *Learning-rate-free learning by D-Adaptation*, ICML 2023,
        arXiv:2301.07733, Algorithm 4.
    """

    learning_rate: Rate = 1.0
    momentum: Decay = 0.9
    estim_lr0: Positive = 1e-6
    weight_decay: Rate = 0.0
    family = "rate_free"

    State = DAdaptSGDState
    elementwise = True
    shared = (*DistanceEstimate.shared, "grad_norm")

    def init_shared(self, params: Arrays) -> dict[str, Any]:
        return {**super().init_shared(params), "grad_norm": real_number(0.0, params)}

    def init_leaf(self, param: jax.Array) -> dict[str, jax.Array]:
        # The first steps are too small for half precision.
        wide = computing_dtype(param.dtype)
        return {"z": jnp.array(param, wide), "grad_sum": zeros(param, wide)}

    def update_leaves(
        self, grads: Arrays, slots: Rows, params: Any, shared: Any, ctx: Context, **extra_args: Any
    ) -> LeavesUpdate:
        grads = [g + self.weight_decay * p for g, p in zip(grads, params, strict=True)]
        first, estimate = shared["grad_norm"], shared["estim_lr"]
        first = jnp.where(first == 0, global_norm(grads), first)
        rate = divide(estimate * self.learning_rate, first)
        numerator = shared["numerator_weighted"] + rate * vdot(grads, [s.grad_sum for s in slots])
        rows = [
            {"z": s.z - rate * g, "grad_sum": s.grad_sum + rate * g}
            for g, s in zip(grads, slots, strict=True)
        ]
        new_estimate = divide(2 * numerator, global_norm([row["grad_sum"] for row in rows]))
        directions = [
            (1 - self.momentum) * (row["z"] - p) for row, p in zip(rows, params, strict=True)
        ]
        return (
            directions,
            rows,
            {
                "estim_lr": jnp.maximum(estimate, new_estimate),
                "numerator_weighted": numerator,
                "grad_norm": first,
            },
        )
