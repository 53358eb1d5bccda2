"""Clipping: by value, and by the norm of all updates together."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from fnopt.core import Context, Joint, NonNegative, Positive, Rule, scale_to_length
from fnopt.core.types import Arrays, LeafUpdate, LeavesUpdate, Rows, Slots


class clip(Rule):
    r"""Bounds every element: :math:`u = \max(-\delta, \min(\delta, g))`.

    Args:
        max_delta: largest magnitude of an element, :math:`\delta \ge 0`.
    """

    max_delta: NonNegative

    elementwise = keeps_zero = True

    def update_leaf(self, grad: jax.Array, slots: Slots, param: Any, ctx: Context) -> LeafUpdate:
        return jnp.clip(grad, -self.max_delta, self.max_delta), {}


class clip_by_global_norm(Joint):
    r"""Bounds the Euclidean norm of all updates together.

    .. math:: u = g \cdot c\,/\max(\lVert g \rVert, c)

    Args:
        max_norm: largest norm, :math:`c > 0`.

    References:
        Pascanu, Mikolov & Bengio, *On the difficulty of training recurrent neural networks*,
        ICML 2013, arXiv:1211.5063, Algorithm 1.
    """

    max_norm: Positive

    elementwise = keeps_zero = True
    leafwise = False

    def update_leaves(
        self, grads: Arrays, slots: Rows, params: Any, shared: Any, ctx: Context, **extra_args: Any
    ) -> LeavesUpdate:
        return scale_to_length(grads, self.max_norm, at_most=True), [{} for _ in grads], {}
