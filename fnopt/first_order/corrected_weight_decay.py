"""AdamC's weight decay, which falls with the square of the learning rate."""

from __future__ import annotations

from typing import Any

import jax

from fnopt.core import Context, Mask, Positive, Rate, Rule
from fnopt.core.types import LeafUpdate, Slots


class add_corrected_weight_decay(Rule):
    r"""Adds a share of the parameter that falls as the learning rate does.

    .. math:: u = g + \lambda\,\frac{\gamma_t}{\gamma_{\max}}\,\theta

    The learning rate after it multiplies both terms, so that the decay of an update is
    :math:`\lambda\,\gamma_t^2 / \gamma_{\max}`. Under plain decay the weights of a layer followed
    by a normalization tend to a norm that depends on the rate, and at a low rate their gradients
    grow; under this one they do not.

    Args:
        weight_decay: strength of the weight decay at the largest rate, :math:`\lambda \ge 0`.
        schedule: the learning rate, repeated, :math:`\gamma \ge 0`.
        peak_value: its largest value, :math:`\gamma_{\max} > 0`.
        mask: the leaves to decay; all if None. Those of layers that a normalization follows, in
            the paper; the last layer's decay is plain.

    When:
        Long trainings at a rate that falls, where gradients grow towards the end. Muon's matrices
        gain from it too (Apte, 2026, arXiv:2607.23777).

    References:
        Defazio, *Why gradients rapidly increase near the end of training*, 2025, arXiv:2506.02285.

    >>> import fnopt, jax.numpy as jnp
    >>> rate = fnopt.linear_schedule(0.1, 0.0, 2)
    >>> tx, params = fnopt.add_corrected_weight_decay(0.5, rate, 0.1), jnp.array(2.0)
    >>> state = tx.init(params)
    >>> for _ in range(2):
    ...     update, state = tx.update(jnp.array(0.0), state, params)
    ...     print(update)
    1.0
    0.5
    """

    weight_decay: Rate
    schedule: Rate
    peak_value: Positive
    mask: Mask = None

    needs_params = True
    elementwise = True

    def update_leaf(self, grad: jax.Array, slots: Slots, param: Any, ctx: Context) -> LeafUpdate:
        return grad + self.weight_decay * self.schedule / self.peak_value * param, {}
