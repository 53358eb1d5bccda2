"""Clipping by the ratio of gradient to parameter, unit by unit."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from fnopt.core import Context, NonNegative, Positive, Rule, Static, norm
from fnopt.core.norms import over_norm
from fnopt.core.types import LeafUpdate, Numeric, Slots

Axes = int | tuple[int, ...] | None


def unitwise_norm(x: jax.Array, axis: Axes = None) -> jax.Array:
    r"""The Euclidean norm of every unit of an array, in the array's shape.

    Args:
        x: the array; of a kernel the last axis is taken to be that of the units, as in Flax.
        axis: the axes within a unit. If None, all of a scalar or vector (axes of length 1 do not
            count), the first of a matrix or of rank 3 (heads), all but the last of ranks 4 and 5.

    Raises:
        ValueError: the rank is above 5 and ``axis`` is None.

    >>> import fnopt, jax.numpy as jnp
    >>> fnopt.unitwise_norm(jnp.array([[3.0, 0.0], [4.0, 1.0]]))
    Array([[5., 1.], [5., 1.]], dtype=float32)
    """
    x = jnp.asarray(x)
    if axis is None:
        axis = _within_unit(x.shape)
    return jnp.broadcast_to(norm(x, axis, keepdims=True), x.shape)


def _within_unit(shape: tuple[int, ...]) -> Axes:
    if sum(size != 1 for size in shape) <= 1:
        return tuple(range(len(shape)))
    if len(shape) in (2, 3):
        return 0
    if len(shape) in (4, 5):
        return tuple(range(len(shape) - 1))
    raise ValueError(
        f"the units of an array of shape {shape} are not known: pass axis, the axes within a unit"
    )


def unitwise_clip(
    g_norm: jax.Array, max_norm: jax.Array, grad: jax.Array, div_eps: Numeric = 1e-6
) -> jax.Array:
    """A gradient whose units have norms of at most ``max_norm``.

    Args:
        g_norm: the norms of its units, in its shape.
        max_norm: the bounds, in its shape.
        grad: the gradient.
        div_eps: the smallest divisor, for a bound of 0.

    Raises:
        ValueError: the shapes differ.

    >>> import fnopt, jax.numpy as jnp
    >>> grad = jnp.array([[3.0, 0.0], [4.0, 1.0]])
    >>> fnopt.unitwise_clip(fnopt.unitwise_norm(grad), jnp.full((2, 2), 2.5), grad)
    Array([[1.5, 0. ], [2. , 1. ]], dtype=float32)
    """
    shapes = jnp.shape(g_norm), jnp.shape(max_norm), jnp.shape(grad)
    if len(set(shapes)) > 1:
        raise ValueError(f"unitwise_clip: norms, bounds and gradient differ in shape: {shapes}")
    clipped = max_norm * over_norm(grad, jnp.maximum(g_norm, div_eps))
    return jnp.where(g_norm < max_norm, grad, clipped)


class adaptive_grad_clip(Rule):
    r"""Bounds the norm of every unit's gradient by a share of the unit's own norm.

    .. math:: u_i = g_i\,\min\Bigl(1,\; \lambda\,
        \frac{\max(\lVert\theta_i\rVert, \epsilon)}{\lVert g_i\rVert}\Bigr)

    A unit :math:`i` is the weights into one output; a bias or scale vector is one unit.

    When:
        Large batches or networks without normalization, where one bound for the global norm is
        hard to find. The authors leave the last layer out of it.

    Args:
        clipping: :math:`\lambda > 0`; the authors use 0.01 to 0.16, smaller for larger batches.
        eps: :math:`\epsilon \ge 0`, so that parameters that start at 0 do not stay there.
        axis: the axes within a unit; by rank if None, see :func:`unitwise_norm`.

    Raises:
        ValueError: a leaf's rank is above 5 and ``axis`` is None.

    References:
        Brock, De, Smith & Simonyan, *High-performance large-scale image recognition without
        normalization*, ICML 2021, arXiv:2102.06171, eq. 3.
    """

    clipping: Positive
    eps: NonNegative = 1e-3
    axis: Static[Axes] = None

    needs_params = True
    keeps_zero = True

    @property
    def elementwise(self) -> bool:
        return self.axis == ()

    def update_leaf(self, grad: jax.Array, slots: Slots, param: Any, ctx: Context) -> LeafUpdate:
        bound = self.clipping * jnp.maximum(unitwise_norm(param, self.axis), self.eps)
        tiny = jnp.finfo(grad.dtype).tiny
        return unitwise_clip(unitwise_norm(grad, self.axis), bound, grad, tiny), {}
