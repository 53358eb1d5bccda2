"""The trust ratio: a layer's step in proportion to its weights."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from fnopt.core import Context, Mask, NonNegative, Rule, norm
from fnopt.core.norms import over_norm
from fnopt.core.types import LeafUpdate, Numeric, Slots


class scale_by_trust_ratio(Rule):
    r"""Gives each leaf's direction a norm in proportion to that of its weights.

    .. math:: u = \kappa\,\frac{\max(\lVert\theta\rVert, n)}{\max(\lVert g\rVert, n) + \epsilon}\,g

    A direction of a leaf that is all 0, or that would be, stays as it is.

    Args:
        min_norm: smallest value that either norm counts as, :math:`n \ge 0`.
        trust_coefficient: ratio of step to weights, :math:`\kappa \ge 0`.
        eps: added to the norm of the direction, :math:`\epsilon \ge 0`.
        mask: the leaves to scale; all if None.

    References:
        You, Gitman & Ginsburg, *Large batch training of convolutional networks*, 2017,
        arXiv:1708.03888, Algorithm 1.
    """

    min_norm: NonNegative = 0.0
    trust_coefficient: NonNegative = 1.0
    eps: NonNegative = 0.0
    mask: Mask = None

    needs_params = True
    keeps_zero = True

    def update_leaf(self, grad: jax.Array, slots: Slots, param: Any, ctx: Context) -> LeafUpdate:
        weights, step = (jnp.maximum(norm(x), self.min_norm) for x in (param, grad))
        return trusted(grad, weights, step, self.trust_coefficient, self.eps), {}


def trusted(
    grad: jax.Array, weights: jax.Array, step: jax.Array, coefficient: Numeric, eps: Numeric
) -> jax.Array:
    """A direction times the trust ratio of two norms; as it is where one is 0, so that weights of 0
    do not stay 0."""
    known = (weights > 0) & (step > 0)
    # The ratio alone need not be representable.
    return jnp.where(known, coefficient * weights * over_norm(grad, step + eps), grad)
