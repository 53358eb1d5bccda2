"""Cautious weight decay: decay only where the step shrinks the weight as well."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from fnopt.core import Context, add_decayed_weights
from fnopt.core.types import LeafUpdate, Slots
from fnopt.wrap.cautious import sign_of_product


class add_cautious_weight_decay(add_decayed_weights):
    r"""Adds a share of the parameter where the direction has its sign.

    .. math:: u = g + \lambda\,[\,g\,\theta \ge 0\,]\,\theta

    elementwise; the step against :math:`g` then shrinks the weight already. Where it would grow,
    there is no decay, so that minima of the loss stay where they are. Of complex numbers the real
    part of :math:`g\,\bar\theta` counts. It stands where :class:`add_decayed_weights` does, after
    the preconditioner and before the learning rate::

        chain(scale_by_adam(), add_cautious_weight_decay(0.1), scale_by_learning_rate(1e-3))

    Where direction or weight is 0 the paper's mask is 1: weights without a gradient decay.

    Args:
        weight_decay: strength of the weight decay, :math:`\lambda \ge 0`; that of
            :class:`add_decayed_weights` suits.
        mask: the leaves to decay; all if None.

    When:
        Instead of decoupled decay, where directions are seldom 0.

    References:
        Chen et al., *Cautious weight decay*, 2025, arXiv:2510.12402, Algorithm 1.

    >>> import fnopt, jax.numpy as jnp
    >>> tx, params = fnopt.add_cautious_weight_decay(0.5), jnp.array([2.0, 2.0])
    >>> tx.update(jnp.array([1.0, -1.0]), tx.init(params), params)[0]
    Array([ 2., -1.], dtype=float32)
    """

    def update_leaf(self, grad: jax.Array, slots: Slots, param: Any, ctx: Context) -> LeafUpdate:
        decayed, _ = super().update_leaf(grad, slots, param, ctx)
        return jnp.where(sign_of_product(grad, param) >= 0, decayed, grad), {}
