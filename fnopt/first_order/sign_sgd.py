"""Sign descent."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from fnopt.core import Composed, Context, Rate, Rule, Transform, scale_by_learning_rate
from fnopt.core.types import LeafUpdate, Slots


class scale_by_sign(Rule):
    r"""Keeps the sign alone: :math:`u = \operatorname{sign}(g)`; of a complex number its phase."""

    elementwise = keeps_zero = True

    def update_leaf(self, grad: jax.Array, slots: Slots, param: Any, ctx: Context) -> LeafUpdate:
        return jnp.sign(grad), {}


class sign_sgd(Composed):
    r"""Sign descent: every weight moves by the learning rate, for any size of its gradient.

    .. math:: \Delta\theta_t = -\eta_t\,\operatorname{sign}(g_t)

    When:
        Gradients must be sent cheaply (one bit a weight), or their sizes say nothing. At a
        constant rate it ends in a jump to and fro: let the rate fall.

    Args:
        learning_rate: learning rate :math:`\eta \ge 0`.

    References:
        Bernstein, Wang, Azizzadenesheli & Anandkumar, *signSGD: compressed optimisation for
        non-convex problems*, ICML 2018, arXiv:1802.04434, Algorithm 1.

    >>> import fnopt, jax.numpy as jnp
    >>> tx = fnopt.sign_sgd(0.1)
    >>> grads = jnp.array([3.0, -0.001, 0.0])
    >>> tx.update(grads, tx.init(grads))[0]
    Array([-0.1,  0.1, -0. ], dtype=float32)
    """

    learning_rate: Rate
    family = "sign"
    usual_rate = 3e-4

    def parts(self) -> tuple[Transform, ...]:
        return scale_by_sign(), scale_by_learning_rate(self.learning_rate)
