"""ADOPT."""

from __future__ import annotations

import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from fnopt.core import (
    Composed,
    Context,
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
    real_zeros,
    root,
    scale_by_learning_rate,
    zeros,
)
from fnopt.core.ranges import Cap
from fnopt.core.types import LeafUpdate, Numeric, Slots


class Start(NamedTuple):
    """Whether this is the first update, and the bound of the clip."""

    first: jax.Array
    bound: Numeric


class scale_by_adopt(Rule):
    r"""Divides by the root of the mean square before this gradient, then takes the mean.

    .. math::
        m_t &= \beta_1\,m_{t-1} + (1 - \beta_1)\,\operatorname{clip}\Bigl(
            \frac{g_t}{\max(\sqrt{v_{t-1}}, \epsilon)},\; \pm c_t\Bigr), \\
        v_t &= \beta_2\,v_{t-1} + (1 - \beta_2)\,g_t^2, \qquad u_t = m_t

    The first gradient makes :math:`v_0 = g_0^2` and no move; it is the next that has :math:`t = 1`.

    Args:
        b1: decay of the mean, :math:`\beta_1 \in [0, 1)`.
        b2: decay of the mean square, :math:`\beta_2 \in [0, 1)`.
        eps: smallest divisor, :math:`\epsilon \ge 0`.
        mu_dtype: dtype of :math:`m`; the parameter's if None.
        nesterov: whether :math:`u_t` is the mean of :math:`m_t` and, a second time, the same
            gradient.
        use_clipping: whether to clip.
        clip_value_fn: bound :math:`c_t`, a number or a schedule of :math:`t`; :math:`t^{1/4}` if
            None.
        nu_dtype: dtype of the mean square; the parameter's, float32 at least, if None.
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
    elementwise = keeps_zero = True

    def init_leaf(self, param: jax.Array) -> dict[str, jax.Array]:
        return {"mu": zeros(param, self.mu_dtype), "nu": real_zeros(param, dtype=self.nu_dtype)}

    def precompute(self, t: Numeric) -> Start:
        bound = (t - 1) ** 0.25 if self.clip_value_fn is None else self.clip_value_fn
        return Start(t == 1, bound)

    def update_leaf(self, grad: jax.Array, slots: Slots, param: Any, ctx: Context) -> LeafUpdate:
        first, bound = ctx.precomputed
        scaled = divide(grad, jnp.maximum(root(slots.nu), self.eps), least=self.eps)
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
        learning_rate: learning rate :math:`\eta \ge 0`.
        b1: decay of the mean, :math:`\beta_1 \in [0, 1)`.
        b2: decay of the mean square, :math:`\beta_2 \in [0, 1)`.
        eps: smallest divisor, :math:`\epsilon \ge 0`.
        mu_dtype: dtype of the mean; the parameter's if None.
        nesterov: whether to use Nesterov's momentum.
        use_clipping: whether to clip; False for Algorithm 1 of the paper, which may leap where a
            first gradient is nearly 0.
        clip_value_fn: largest step before the rate, a number or a schedule of the updates so far;
            their fourth root, as in the paper, if None.
        nu_dtype: dtype of the mean square; the parameter's, float32 at least, if None.

    When:
        Instead of :class:`adam` where that is unstable or ``b2`` would need tuning, or where
        a proof is needed.

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
