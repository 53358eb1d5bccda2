"""Division by the root of a moving mean square, plain and centered."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from fnopt.core import (
    Context,
    Decay,
    NonNegative,
    Rule,
    Static,
    abs_sq,
    bias_correction,
    divide,
    moment,
    real_zeros,
    root,
    zeros,
)
from fnopt.core.types import LeafUpdate, Numeric, Slots


class RmsWithCountState(NamedTuple):
    """The state of :class:`scale_by_rms` with bias correction."""

    count: jax.Array
    nu: Any


class StddevWithCountState(NamedTuple):
    """The state of :class:`scale_by_stddev` with bias correction."""

    count: jax.Array
    mu: Any
    nu: Any


class scale_by_rms(Rule):
    r"""Divides by the root of a moving average of squared gradients.

    .. math:: \nu_t = \beta\,\nu_{t-1} + (1 - \beta)\,g_t^2, \qquad
        u_t = g_t / \sqrt{\nu_t + \epsilon}

    Args:
        decay: decay of the average, :math:`\beta \in [0, 1)`.
        eps: added under the root, :math:`\epsilon \ge 0`.
        initial_scale: initial mean square, :math:`\nu_0 \ge 0`.
        eps_in_sqrt: False for :math:`u_t = g_t / (\sqrt{\nu_t} + \epsilon)`.
        bias_correction: whether to divide :math:`\nu_t` by :math:`1 - \beta^t`.
    """

    decay: Decay = 0.9
    eps: NonNegative = 1e-8
    initial_scale: NonNegative = 0.0
    eps_in_sqrt: Static[bool] = True
    bias_correction: Static[bool] = False

    elementwise = keeps_zero = True

    @property
    def State(self) -> Any:
        return RmsWithCountState if self.bias_correction else optax.ScaleByRmsState

    def init_leaf(self, param: jax.Array) -> dict[str, jax.Array]:
        return {"nu": real_zeros(param, fill=self.initial_scale)}

    def precompute(self, t: Numeric) -> Any:
        return bias_correction(self.decay, t)

    def update_leaf(self, grad: jax.Array, slots: Slots, param: Any, ctx: Context) -> LeafUpdate:
        nu = moment(abs_sq(grad), slots.nu, self.decay)
        square = nu / ctx.precomputed if self.bias_correction else nu
        return _divide(grad, square, self.eps, self.eps_in_sqrt), {"nu": nu}


class scale_by_stddev(scale_by_rms):
    r"""Divides by a moving standard deviation of gradients: RMSProp, centered.

    .. math:: \mu_t = \beta\,\mu_{t-1} + (1 - \beta)\,g_t, \qquad
        \nu_t = \beta\,\nu_{t-1} + (1 - \beta)\,g_t^2, \qquad
        u_t = g_t / \sqrt{\nu_t - \mu_t^2 + \epsilon}

    The variance is taken as 0 where rounding makes it negative, which for gradients that hardly
    change would else be the root of a negative number.

    Args:
        decay: decay of the average, :math:`\beta \in [0, 1)`.
        eps: added under the root, :math:`\epsilon \ge 0`.
        initial_scale: initial mean square, :math:`\nu_0 \ge 0`.
        eps_in_sqrt: False for :math:`u_t = g_t / (\sqrt{\nu_t - \mu_t^2} + \epsilon)`.
        bias_correction: whether to divide both averages by :math:`1 - \beta^t`.

    References:
        Graves, *Generating sequences with recurrent neural networks*, 2013, arXiv:1308.0850,
        eqs. 38-40.
    """

    @property
    def State(self) -> Any:
        return StddevWithCountState if self.bias_correction else optax.ScaleByRStdDevState

    def init_leaf(self, param: jax.Array) -> dict[str, jax.Array]:
        return {"mu": zeros(param), **super().init_leaf(param)}

    def update_leaf(self, grad: jax.Array, slots: Slots, param: Any, ctx: Context) -> LeafUpdate:
        mu = moment(grad, slots.mu, self.decay)
        nu = moment(abs_sq(grad), slots.nu, self.decay)
        mean, square = mu, nu
        if self.bias_correction:
            mean, square = mu / ctx.precomputed, nu / ctx.precomputed
        # An infinite square less an infinite one is no number.
        gap = jnp.where(square < jnp.inf, square - abs_sq(mean), square)
        variance = jnp.maximum(gap, 0)
        return _divide(grad, variance, self.eps, self.eps_in_sqrt), {"mu": mu, "nu": nu}


def _divide(grad: jax.Array, square: jax.Array, eps: Any, eps_in_sqrt: bool) -> jax.Array:
    if not eps_in_sqrt:
        return divide(grad, root(square), eps=eps)
    inside = square + eps
    return jnp.where(inside == 0, 0, grad * jax.lax.rsqrt(jnp.where(inside == 0, 1, inside)))
