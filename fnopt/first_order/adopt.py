"""ADOPT."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import optax

from fnopt.core import (
    Composed,
    Decay,
    DType,
    NonNegative,
    Rate,
    Rule,
    Static,
    Transform,
    abs_sq,
    divide,
    moment,
    root,
    scale_by_learning_rate,
    zeros,
)
from fnopt.core.schedule import Cap
from fnopt.first_order.mean_square import mean_square


class scale_by_adopt(Rule):
    r"""Divides by the root of the mean square before this gradient, then takes the mean.

    .. math::
        m_t &= \beta_1\,m_{t-1} + (1 - \beta_1)\,\operatorname{clip}\Bigl(
            \frac{g_t}{\max(\sqrt{v_{t-1}}, \epsilon)},\; \pm c_t\Bigr), \\
        v_t &= \beta_2\,v_{t-1} + (1 - \beta_2)\,g_t^2, \qquad u_t = m_t

    The first gradient makes :math:`v_0 = g_0^2` and no move; it is the next that has :math:`t = 1`.

    Args:
        b1: :math:`\beta_1 \in [0, 1)`.
        b2: :math:`\beta_2 \in [0, 1)`.
        eps: :math:`\epsilon \ge 0`.
        mu_dtype: of :math:`m`.
        nesterov: :math:`u_t` is the mean taken once more, of :math:`m_t` and the same gradient.
        use_clipping: False leaves the clip out.
        clip_value_fn: :math:`c_t`, a number or a schedule of :math:`t`; None is
            :math:`t^{1/4}`.
        nu_dtype: of the mean square; None for single precision at least.
    """

    b1: Decay = 0.9
    b2: Decay = 0.9999
    eps: NonNegative = 1e-6
    mu_dtype: DType = None
    _: dataclasses.KW_ONLY
    nesterov: Static[bool] = False
    use_clipping: Static[bool] = True
    clip_value_fn: Cap = None
    nu_dtype: DType = None

    State = optax.ScaleByAdamState

    def slots(self, param: jax.Array) -> dict[str, jax.Array]:
        return {"mu": zeros(param, self.mu_dtype), "nu": mean_square(param, self.nu_dtype)}

    def once(self, t: Any) -> Any:
        return t == 1, (t - 1) ** 0.25 if self.clip_value_fn is None else self.clip_value_fn

    def direct(self, grad: jax.Array, slots: Any, param: Any, t: Any) -> Any:
        first, bound = t
        scaled = divide(grad, jnp.maximum(root(slots.nu), self.eps))
        if self.use_clipping:
            scaled = jnp.clip(scaled, -bound, bound)
        mu = jnp.where(first, slots.mu, moment(scaled, slots.mu, self.b1))
        square = abs_sq(grad)
        nu = jnp.where(first, square, moment(square, slots.nu, self.b2))
        direction = jnp.where(first, mu, moment(scaled, mu, self.b1)) if self.nesterov else mu
        return direction, {"mu": mu, "nu": nu}


class adopt(Composed):
    r"""ADOPT: Adam in another order, which converges for any decay of the squares.

    .. math:: \Delta\theta_t = -\eta_t\,m_t

    Args:
        learning_rate: :math:`\eta \ge 0`.
        b1: :math:`\beta_1 \in [0, 1)`, of the mean.
        b2: :math:`\beta_2 \in [0, 1)`, of the mean square.
        eps: :math:`\epsilon \ge 0`, the least divisor.
        mu_dtype: of the mean.
        nesterov: Nesterov's momentum.
        use_clipping: False for Algorithm 1 of the paper, which may leap where a first gradient is
            nearly 0.
        clip_value_fn: the largest step before the rate, a number or a schedule of the updates made
            before; None is the paper's fourth root.
        nu_dtype: of the mean square; None for single precision at least.

    When:
        In the place of :class:`adam` where that is unstable or ``b2`` would need tuning, or where
        a proof is wanted.

    References:
        Taniguchi et al., *ADOPT: modified Adam can converge with any β2 with the optimal rate*,
        NeurIPS 2024, arXiv:2411.02853, Algorithm 2.
    """

    learning_rate: Rate
    b1: Decay = 0.9
    b2: Decay = 0.9999
    eps: NonNegative = 1e-6
    mu_dtype: DType = None
    _: dataclasses.KW_ONLY
    nesterov: Static[bool] = False
    use_clipping: Static[bool] = True
    clip_value_fn: Cap = None
    nu_dtype: DType = None
    family = "adaptive"

    def parts(self) -> tuple[Transform, ...]:
        return (
            scale_by_adopt(
                self.b1,
                self.b2,
                self.eps,
                self.mu_dtype,
                nesterov=self.nesterov,
                use_clipping=self.use_clipping,
                clip_value_fn=self.clip_value_fn,
                nu_dtype=self.nu_dtype,
            ),
            scale_by_learning_rate(self.learning_rate),
        )
