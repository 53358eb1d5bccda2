"""Fromage."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from fnopt.core import Composed, Context, NonNegative, Rate, Rule, Transform
from fnopt.core.types import LeafUpdate, Slots
from fnopt.first_order.trust_ratio import scale_by_trust_ratio


class _step_on_sphere(Rule):
    r"""A step and a shrinkage: :math:`u = (\theta - \eta\,g) / \sqrt{1 + \eta^2} - \theta`."""

    learning_rate: Rate

    needs_params = True

    def update_leaf(self, grad: jax.Array, slots: Slots, param: Any, ctx: Context) -> LeafUpdate:
        eta = self.learning_rate
        size = jnp.sqrt(1 + eta**2)
        # 1 / size - 1 without the cancellation that a small rate brings.
        return -(eta * grad + eta**2 / (1 + size) * param) / size, {}


class fromage(Composed):
    r"""Fromage: every layer turns by the same angle.

    .. math:: \theta_t = \frac{1}{\sqrt{1 + \eta_t^2}}
        \Bigl(\theta_{t-1} - \eta_t\,\frac{\lVert\theta_{t-1}\rVert}{\lVert g_t\rVert}\,g_t\Bigr)

    Norms are those of a leaf. The shrinkage goes on at a gradient of 0: it keeps from growing
    what steps at right angles to the weights would let grow.

    When:
        Networks whose layers have very different scales (deep ones without normalization, GANs);
        the rate is a relative one, 0.01 its usual value. Biases of 0 hardly move.

    Args:
        learning_rate: learning rate :math:`\eta \ge 0`.
        min_norm: smallest value that either norm counts as, at least 0.

    References:
        Bernstein, Vahdat, Yue & Liu, *On the distance between two neural networks and the
        stability of learning*, NeurIPS 2020, arXiv:2002.03432, Algorithm 1.
    """

    learning_rate: Rate
    min_norm: NonNegative = 1e-6
    family = "layerwise"

    def parts(self) -> tuple[Transform, ...]:
        return scale_by_trust_ratio(self.min_norm), _step_on_sphere(self.learning_rate)
