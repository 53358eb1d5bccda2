"""Gradient centralization."""

from __future__ import annotations

import math
from typing import Annotated, Any

import jax
import jax.numpy as jnp

from fnopt.core import Context, Rule
from fnopt.core.fields import Field
from fnopt.core.types import LeafUpdate, Slots

Units = Annotated[Any, Field(static=True, choices=("last", "first"))]


class centralize(Rule):
    r"""Takes from the gradient of every unit's weights their mean.

    .. math:: u_i = g_i - \tfrac{1}{M} \textstyle\sum_{j=1}^{M} g_{i,j}

    where :math:`g_i` are the :math:`M` weights into unit :math:`i`. Scalars and vectors stay.

    The units are along the last axis, as in the kernels of Flax (inputs, outputs) and (height,
    width, inputs, outputs). optax takes them to be along the first, as they are in torch: there,
    on kernels of Flax, it is the weights out of one input whose mean goes.
    ``centralize("first")`` is optax's.

    When:
        In front of momentum or an adaptive method on convolutional networks, at next to no cost.

    Args:
        units: axis of the units, ``"last"`` or ``"first"``.

    Raises:
        ValueError: it is neither.

    References:
        Yong, Huang, Hua & Zhang, *Gradient centralization: a new optimization technique for deep
        neural networks*, ECCV 2020, arXiv:2004.01461, eq. 1.

    >>> import fnopt, jax.numpy as jnp
    >>> tx, kernel = fnopt.centralize(), jnp.array([[1.0, 2.0, 3.0], [5.0, 6.0, 7.0]])
    >>> tx.update(kernel, tx.init(kernel))[0]
    Array([[-2., -2., -2.],
           [ 2.,  2.,  2.]], dtype=float32)
    """

    units: Units = "last"

    keeps_zero = True

    def update_leaf(self, grad: jax.Array, slots: Slots, param: Any, ctx: Context) -> LeafUpdate:
        if grad.ndim < 2:
            return grad, {}
        axes = tuple(range(grad.ndim - 1) if self.units == "last" else range(1, grad.ndim))
        inputs = math.prod(grad.shape[axis] for axis in axes)
        return grad - jnp.sum(grad, axes, keepdims=True) / max(inputs, 1), {}
