"""SM3."""

from __future__ import annotations

import functools
from typing import Annotated, Any

import jax
import jax.numpy as jnp
import optax

from fnopt.core import (
    Composed,
    Context,
    Decay,
    NonNegative,
    Rate,
    Rule,
    Transform,
    abs_sq,
    moment,
    real_zeros,
    scale_by_learning_rate,
    zeros,
)
from fnopt.core.checks import Interval
from fnopt.core.ranges import Scheduled
from fnopt.core.types import LeafUpdate, Slots


class scale_by_sm3(Rule):
    r"""Adagrad with, instead of a sum for every element, one for every index of every axis.

    .. math::
        \nu_t(i) = \min_{r \ni i} \mu_{t-1}(r) + g_t(i)^2, \qquad
        \mu_t(r) = \max_{i \in r} \nu_t(i), \qquad
        u_t = m_t = \beta_1\,m_{t-1} + (1 - \beta_1)\,\frac{g_t}{\sqrt{\nu_t + \epsilon}}

    where :math:`r` goes over the rows, the columns and so on of a leaf; of a vector or a number
    over its elements, as Adagrad does. Where the sum is still 0, so is the direction.

    Args:
        b1: decay of the mean, :math:`\beta_1 \in [0, 1)`.
        b2: 1 for sums, less for averages :math:`\nu_t = \beta_2 \min\mu + (1 - \beta_2)\,g_t^2`.
        eps: added under the root, :math:`\epsilon \ge 0`.
    """

    b1: Decay = 0.9
    b2: Annotated[Any, Scheduled(Interval("[0, 1]"))] = 1.0
    eps: NonNegative = 1e-8

    State = optax.ScaleBySM3State
    keeps_zero = True

    def init_leaf(self, param: jax.Array) -> dict[str, Any]:
        return {"mu": _over_other_axes(jnp.max, real_zeros(param)), "nu": zeros(param)}

    def update_leaf(self, grad: jax.Array, slots: Slots, param: Any, ctx: Context) -> LeafUpdate:
        new = jnp.where(self.b2 == 1, 1, 1 - self.b2)
        bound = functools.reduce(jnp.minimum, _along_axes(jax.tree.leaves(slots.mu), grad.ndim))
        total = new * abs_sq(grad) + self.b2 * bound
        # Both branches are differentiated, so the root that is not taken must be finite too.
        safe = jnp.where(total == 0, 1, total)
        scaled = jnp.where(total == 0, 0, grad * jax.lax.rsqrt(safe + self.eps))
        nu = moment(scaled, slots.nu, self.b1)
        return nu, {"mu": _over_other_axes(jnp.max, total), "nu": nu}


def _over_other_axes(reduce: Any, x: jax.Array) -> list[jax.Array]:
    """One array for each axis, of what is reduced over the others; a number is its own."""
    axes = range(x.ndim)
    return [reduce(x, tuple(set(axes) - {i}), initial=0) for i in axes] or [x]


def _along_axes(sums: list[jax.Array], ndim: int) -> list[jax.Array]:
    """The arrays of the axes, laid along them."""
    return [jnp.expand_dims(x, tuple(j for j in range(ndim) if j != i)) for i, x in enumerate(sums)]


class sm3(Composed):
    r"""SM3: Adagrad in a fraction of its memory.

    .. math:: \Delta\theta_t = -\eta_t\,m_t

    with :math:`m_t` as in :class:`scale_by_sm3`.

    When:
        Large embeddings and matrices, where Adagrad would need too much memory.

    Args:
        learning_rate: learning rate :math:`\eta \ge 0`.
        momentum: decay of the mean, :math:`\beta_1 \in [0, 1)`.

    References:
        Anil, Gupta, Koren & Singer, *Memory-efficient adaptive optimization*, NeurIPS 2019,
        arXiv:1901.11150, Algorithm SM3-II, with momentum.
    """

    learning_rate: Rate
    momentum: Decay = 0.9
    family = "layerwise"

    def parts(self) -> tuple[Transform, ...]:
        return scale_by_sm3(self.momentum), scale_by_learning_rate(self.learning_rate)
