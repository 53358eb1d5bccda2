"""Yogi."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import optax

from fnopt.core import (
    Composed,
    Context,
    Corrections,
    Decay,
    NonNegative,
    Rate,
    Rule,
    Transform,
    abs_sq,
    bias_corrections,
    divide,
    moment,
    real_zeros,
    root,
    scale_by_learning_rate,
    zeros,
)
from fnopt.core.types import LeafUpdate, Numeric, Slots


class scale_by_yogi(Rule):
    r"""Adam's direction with a mean square that falls slowly.

    .. math::
        m_t &= \beta_1\,m_{t-1} + (1 - \beta_1)\,g_t \\
        v_t &= v_{t-1} - (1 - \beta_2)\,\operatorname{sign}(v_{t-1} - g_t^2)\,g_t^2 \\
        u_t &= \frac{m_t / (1 - \beta_1^t)}{\sqrt{v_t / (1 - \beta_2^t) + \bar\epsilon} + \epsilon}

    The divisors are Adam's, as in optax; the paper has none. :math:`m_0 = 0` as in the paper, where
    optax fills it with the value of :math:`v_0` and moves at no gradient.

    Args:
        b1: decay of the mean, :math:`\beta_1 \in [0, 1)`.
        b2: decay of the mean square, :math:`\beta_2 \in [0, 1)`.
        eps: added to the root, :math:`\epsilon \ge 0`.
        eps_root: added under the root, :math:`\bar\epsilon \ge 0`.
        initial_accumulator_value: initial mean square, :math:`v_0 \ge 0`.
    """

    b1: Decay = 0.9
    b2: Decay = 0.999
    eps: NonNegative = 1e-3
    eps_root: NonNegative = 0.0
    initial_accumulator_value: NonNegative = 1e-6

    State = optax.ScaleByAdamState
    elementwise = keeps_zero = True

    def init_leaf(self, param: jax.Array) -> dict[str, jax.Array]:
        return {"mu": zeros(param), "nu": real_zeros(param, fill=self.initial_accumulator_value)}

    def precompute(self, t: Numeric) -> Corrections:
        return bias_corrections(self.b1, self.b2, t)

    def update_leaf(self, grad: jax.Array, slots: Slots, param: Any, ctx: Context) -> LeafUpdate:
        corrections = ctx.precomputed
        square = abs_sq(grad)
        mu = moment(grad, slots.mu, self.b1)
        # Not by the sign of a difference, which two infinite squares do not have.
        change = (1 - self.b2) * square
        moved = jnp.where(square < slots.nu, slots.nu - change, slots.nu + change)
        nu = jnp.where(square == slots.nu, slots.nu, moved)
        size = root(nu / corrections.nu + self.eps_root)
        return divide(mu / corrections.mu, size, eps=self.eps), {"mu": mu, "nu": nu}


class yogi(Composed):
    r"""Yogi: :class:`adam` whose rates cannot shoot up when gradients vanish.

    .. math:: \Delta\theta_t = -\eta_t\,\hat m_t / (\sqrt{\hat v_t} + \epsilon)

    Args:
        learning_rate: learning rate :math:`\eta \ge 0`.
        b1: decay of the mean, :math:`\beta_1 \in [0, 1)`.
        b2: decay of the square, :math:`\beta_2 \in [0, 1)`.
        eps: added to the root, :math:`\epsilon \ge 0`.

    When:
        Sparse gradients or large noise, and federated learning's server step; the large ``eps`` is
        part of the method.

    References:
        Zaheer, Reddi, Sachan, Kale & Kumar, *Adaptive methods for nonconvex optimization*, NeurIPS
        2018, Algorithm 2.
    """

    learning_rate: Rate
    b1: Decay = 0.9
    b2: Decay = 0.999
    eps: NonNegative = 1e-3
    family = "adaptive"

    def parts(self) -> tuple[Transform, ...]:
        return (
            scale_by_yogi(self.b1, self.b2, self.eps),
            scale_by_learning_rate(self.learning_rate),
        )
