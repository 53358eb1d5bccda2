"""Taking from a direction what would only lengthen weights whose length does not matter."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp

from fnopt.core import divide, root
from fnopt.core.types import Numeric


def projected(
    direction: jax.Array, grad: jax.Array, param: jax.Array, delta: Numeric, eps: Numeric, axis: int
) -> tuple[jax.Array, jax.Array | bool]:
    r"""The direction at right angles to the weights, if the gradient is; and whether it is.

    .. math:: \Pi_\theta(p) = p - (\hat\theta \cdot p)\,\hat\theta \quad\text{if}\quad
        \lvert\cos(\theta, g)\rvert < \delta / \sqrt{\dim\theta}

    for every channel if it holds for all of them, else for the leaf if it holds for that. The
    weights before a normalization are such: the loss does not depend on their length, so that
    its gradient is at right angles to them. Leaves with fewer than two axes stay as they are.

    Args:
        direction: the direction of the step, an array like ``param``.
        grad: the gradient at the weights.
        param: the weights.
        delta: bound of the cosine, :math:`\delta \ge 0`.
        eps: added to the norms, a number at least 0.
        axis: axis of the channels, an integer.
    """
    if param.ndim < 2 or not param.size:
        return direction, False
    channel = tuple(i for i in range(param.ndim) if i != axis % param.ndim)

    def view(axes: tuple[int, ...]) -> tuple[jax.Array, jax.Array]:
        def dot(x: jax.Array, y: jax.Array) -> jax.Array:
            return jnp.sum((jnp.conj(x) * y).real, axes, keepdims=True)

        length = root(dot(param, param))
        lengths = jnp.maximum(length * root(dot(grad, grad)), eps)
        cosine = jnp.max(divide(jnp.abs(dot(param, grad)), lengths))
        unit = divide(param, length + eps)
        tangent = direction - unit * dot(unit, direction)
        return cosine < delta / math.sqrt(math.prod(param.shape[i] for i in axes)), tangent

    by_channel, of_channels = view(channel)
    by_leaf, of_leaf = view(tuple(range(param.ndim)))
    chosen = jnp.where(by_channel, of_channels, jnp.where(by_leaf, of_leaf, direction))
    return chosen, by_channel | by_leaf
