"""MADGRAD."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import optax.contrib

from fnopt.core import (
    Composed,
    Context,
    Decay,
    NonNegative,
    Rate,
    Rule,
    Transform,
    add_l2,
    computing_dtype,
    divide,
    real_zeros,
    zeros,
)
from fnopt.core.types import LeafUpdate, Numeric, Slots


@jax.jit
def _cube_root(x: jax.Array) -> jax.Array:
    """The cube root; its slope at 0, where there is none, is taken to be 0."""
    return _root(x)


@jax.custom_jvp
def _root(x: jax.Array) -> jax.Array:
    return jnp.cbrt(x)


@_root.defjvp
def _root_jvp(primals: Any, tangents: Any) -> Any:
    (x,), (dx,) = primals, tangents
    y = _root(x)
    return y, divide(y * dx, 3 * x)


class scale_by_madgrad(Rule):
    r"""The whole step of MADGRAD, rate and sign included; see :class:`madgrad`.

    Args:
        learning_rate: learning rate :math:`\eta \ge 0`.
        momentum: weight of the last parameters, in [0, 1): the paper's :math:`1 - c`.
        eps: :math:`\epsilon \ge 0`, added to the cube root and to the rate.
    """

    learning_rate: Rate
    momentum: Decay = 0.9
    eps: NonNegative = 1e-6

    State = optax.contrib.MadgradState
    needs_params = True
    elementwise = keeps_zero = True

    def init_leaf(self, param: jax.Array) -> dict[str, jax.Array]:
        # Sums, not averages: in half precision they would soon stand still.
        wide = computing_dtype(param.dtype)
        return {
            "grad_sum_sq": real_zeros(param),
            "s": zeros(param, wide),
            "x0": jnp.array(param),
        }

    def precompute(self, t: Numeric) -> Any:
        # A rate of 0 stays 0.
        eps = jnp.where(self.learning_rate == 0, 0.0, self.eps)
        return (self.learning_rate + eps) * jnp.sqrt(t)

    def update_leaf(self, grad: jax.Array, slots: Slots, param: Any, ctx: Context) -> LeafUpdate:
        step = ctx.precomputed * grad
        # Not the rate times the square, which may be infinite: at a rate of 0 that is NaN.
        grad_sum_sq = slots.grad_sum_sq + (step * grad.conj()).real
        s = slots.s + step
        # With nothing summed up and no eps there is no direction.
        z = slots.x0 - divide(s, _cube_root(grad_sum_sq), eps=self.eps)
        update = (1 - self.momentum) * (z - param)
        return update, {"grad_sum_sq": grad_sum_sq, "s": s, "x0": slots.x0}


class madgrad(Composed):
    r"""Adaptive dual averaging: the start less all gradients, each weight at its own scale.

    .. math::
        \lambda_t &= (\eta_t + \epsilon) \sqrt t, &
        s_t &= s_{t-1} + \lambda_t\,g_t, &
        \nu_t &= \nu_{t-1} + \lambda_t\,g_t^2, \\
        z_t &= \theta_0 - s_t / (\sqrt[3]{\nu_t} + \epsilon), &
        \theta_t &= \mu\,\theta_{t-1} + (1 - \mu)\,z_t

    :math:`\epsilon` in the rate is the authors' code's and optax's; the paper has none there, and
    a rate of 0 has none here, so that it adds nothing to the sums.

    Args:
        learning_rate: learning rate :math:`\eta \ge 0`.
        momentum: weight of the last parameters, :math:`\mu \in [0, 1)`: the paper's :math:`1 - c`.
        weight_decay: strength of an L2 penalty, at least 0; the authors advise 0 or very little.
        eps: added to the cube root and to the rate, :math:`\epsilon \ge 0`.

    When:
        Where SGD generalizes better than Adam but is hard to tune, and for sparse gradients. The
        rate has another scale than Adam's; it needs little weight decay.

    References:
        Defazio & Jelassi, *Adaptivity without compromise: a momentumized, adaptive, dual averaged
        gradient method for stochastic optimization*, 2021, arXiv:2101.11075, Algorithm 1.
    """

    learning_rate: Rate
    momentum: Decay = 0.9
    weight_decay: Rate = 0.0
    eps: NonNegative = 1e-6
    family = "adaptive"

    def parts(self) -> tuple[Transform, ...]:
        return (
            add_l2(self.weight_decay),
            scale_by_madgrad(self.learning_rate, self.momentum, self.eps),
        )
