"""COCOB: coin betting."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import optax.contrib

from fnopt.core import (
    Composed,
    Context,
    Mask,
    NonNegative,
    Positive,
    Rate,
    Rule,
    Transform,
    add_decayed_weights,
    computing_dtype,
    divide,
    real_zeros,
    scale_by_learning_rate,
    zeros,
)
from fnopt.core.types import LeafUpdate, Slots


class scale_by_cocob(Rule):
    r"""Bets on every weight as on a coin; an optimizer by itself.

    .. math::
        L_t &= \max(L_{t-1}, |g_t|), \qquad G_t = G_{t-1} + |g_t|, \qquad
            C_t = C_{t-1} - g_t \\
        R_t &= \max(R_{t-1} - g_t\,(\theta_{t-1} - \theta_0), 0) \\
        \theta_t &= \theta_0 + \frac{C_t\,(L_t + R_t)}{L_t\,\max(G_t + L_t, \alpha\,L_t)}

    Args:
        alpha: bound of the first step, which is at most :math:`1/\alpha`, :math:`\alpha > 0`.
        eps: largest gradient assumed before the first, :math:`L_0 \ge 0`.
    """

    alpha: Positive = 100.0
    eps: NonNegative = 1e-8

    State = optax.contrib.COCOBState
    needs_params = True
    elementwise = keeps_zero = True

    def init_leaf(self, param: jax.Array) -> dict[str, jax.Array]:
        return {
            "init_particles": jnp.array(param),
            # A sum in half precision stands still once it is large.
            "cumulative_gradients": zeros(param, computing_dtype(param.dtype)),
            "scale": real_zeros(param, fill=self.eps),
            "subgradients": real_zeros(param),
            "reward": real_zeros(param),
        }

    def update_leaf(self, grad: jax.Array, slots: Slots, param: Any, ctx: Context) -> LeafUpdate:
        start, size = slots.init_particles, jnp.abs(grad)
        scale = jnp.maximum(slots.scale, size)
        subgradients = slots.subgradients + size
        won = (grad.conj() * (param - start)).real
        reward = jnp.maximum(slots.reward - won, 0.0)
        sum_of_grads = slots.cumulative_gradients - grad
        wealth = scale + reward
        # Two quotients of like sizes, so that no product is too large or too small.
        bet = divide(sum_of_grads, scale) * divide(
            wealth, jnp.maximum(subgradients + scale, self.alpha * scale)
        )
        return start - param + bet, {
            "init_particles": start,
            "cumulative_gradients": sum_of_grads,
            "scale": scale,
            "subgradients": subgradients,
            "reward": reward,
        }


class cocob(Composed):
    r"""COCOB-Backprop: a gambler for every weight, without a learning rate.

    :class:`scale_by_cocob` of :math:`\eta_t\,(g_t + \lambda\,\theta_{t-1})`. The method is
    indifferent to the scale of the gradients: a constant rate changes nothing, a schedule weighs
    the gradients of different times.

    Args:
        learning_rate: learning rate :math:`\eta \ge 0`.
        alpha: bound of the first step, which is at most :math:`1/\alpha`, :math:`\alpha > 0`.
        eps: largest gradient assumed before the first, :math:`\epsilon \ge 0`.
        weight_decay: strength of an L2 penalty, :math:`\lambda \ge 0`.
        mask: the leaves to penalize; all if None.

    When:
        No rate is to be tuned at all and memory for five slots a weight is there; a tuned rate
        is usually better.

    References:
        Orabona & Tommasi, *Training deep networks without learning rates through coin betting*,
        NeurIPS 2017, arXiv:1705.07795, Algorithm 2.
    """

    learning_rate: Rate = 1.0
    alpha: Positive = 100.0
    eps: NonNegative = 1e-8
    weight_decay: Rate = 0.0
    mask: Mask = None
    family = "rate_free"

    def parts(self) -> tuple[Transform, ...]:
        return (
            add_decayed_weights(self.weight_decay, self.mask),
            scale_by_learning_rate(self.learning_rate, flip_sign=False),
            scale_by_cocob(self.alpha, self.eps),
        )
