"""Steps measured by the leaf they belong to: its norm, its root mean square."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from fnopt.core import Context, NonNegative, Rule, norm, rms
from fnopt.core.ranges import Bound
from fnopt.core.types import LeafUpdate, Numeric, Slots


def excess(size: Numeric, bound: Numeric) -> Any:
    """What something of this size is divided by to be of the bound at most; None or inf: 1."""
    if bound is None:
        return 1.0
    # An infinite size over an infinite bound is no number.
    return jnp.where(jnp.isinf(bound), 1.0, jnp.maximum(size / bound, 1.0))


class scale_by_param_block_norm(Rule):
    r"""Multiplies by the norm of the leaf: :math:`u = \max(\lVert\theta\rVert, n)\,g`.

    Args:
        min_scale: smallest factor, :math:`n \ge 0`.
    """

    min_scale: NonNegative = 1e-3

    needs_params = True
    keeps_zero = True

    def update_leaf(self, grad: jax.Array, slots: Slots, param: Any, ctx: Context) -> LeafUpdate:
        return jnp.maximum(norm(param), self.min_scale) * grad, {}


class scale_by_param_block_rms(Rule):
    r"""Multiplies by the root mean square of the leaf: :math:`u = \max(\text{rms}\,\theta, n)\,g`.

    Args:
        min_scale: smallest factor, :math:`n \ge 0`.
    """

    min_scale: NonNegative = 1e-3

    needs_params = True
    keeps_zero = True

    def update_leaf(self, grad: jax.Array, slots: Slots, param: Any, ctx: Context) -> LeafUpdate:
        return jnp.maximum(rms(param), self.min_scale) * grad, {}


class clip_by_block_rms(Rule):
    r"""Bounds the root mean square of each leaf: :math:`u = g / \max(1, \text{rms}(g) / d)`.

    When:
        After a preconditioner, so that a layer whose second moment lags behind its gradient does
        not take a step too long.

    Args:
        threshold: largest root mean square, :math:`d > 0`; None or inf does not clip.

    References:
        Shazeer & Stern, *Adafactor: adaptive learning rates with sublinear memory cost*, ICML
        2018, arXiv:1804.04235, Algorithm 4.
    """

    threshold: Bound

    keeps_zero = True

    def update_leaf(self, grad: jax.Array, slots: Slots, param: Any, ctx: Context) -> LeafUpdate:
        return grad / excess(rms(grad), self.threshold), {}
