"""A mean gradient over a power of a mean square that is computed elsewhere."""

from __future__ import annotations

import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from fnopt.core import (
    Context,
    Corrections,
    DType,
    Rule,
    Scalar,
    bias_correction,
    divide,
    moment,
    real_zeros,
    zeros,
)
from fnopt.core.types import LeafUpdate, Numeric, Slots


class Moments(NamedTuple):
    """The state of :class:`QuotientByPower`."""

    count: Any
    mu: Any
    nu: Any


class QuotientByPower(Rule):
    """The mean gradient over a power of a mean square that comes from elsewhere."""

    b1: Scalar
    b2: Scalar
    eps: Scalar
    hessian_power: Scalar
    estimates: Scalar
    mu_dtype: DType = None
    _: dataclasses.KW_ONLY
    nu_dtype: DType = None

    family = ""

    State = Moments

    def init_leaf(self, param: jax.Array) -> dict[str, jax.Array]:
        return {"mu": zeros(param, self.mu_dtype), "nu": real_zeros(param, dtype=self.nu_dtype)}

    def precompute(self, t: Numeric) -> Corrections:
        return Corrections(bias_correction(self.b1, t), bias_correction(self.b2, self.estimates))

    def update_leaf(self, grad: jax.Array, slots: Slots, param: Any, ctx: Context) -> LeafUpdate:
        corrections = ctx.precomputed
        mu = moment(grad, slots.mu, self.b1)
        power = self.hessian_power / 2
        square = slots.nu / corrections.nu
        # A power has no slope at 0; there it is 0, but for a power of 0.
        size = jnp.where(square > 0, square, jnp.ones_like(square)) ** power
        size = jnp.where((square > 0) | (power == 0), size, jnp.zeros_like(size))
        return divide(mu / corrections.mu, size, eps=self.eps), {"mu": mu, "nu": slots.nu}
