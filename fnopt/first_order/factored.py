"""A second moment stored as the product of two vectors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax

from fnopt.core import Context, NonNegative, Positive, Rule, Static, abs_sq, moment, real_zeros
from fnopt.core.types import LeafUpdate, Numeric, Slots


class scale_by_factored_rms(Rule):
    r"""Divides by the root of a moving average of squared gradients, of matrices a factored one.

    .. math::
        \beta_t &= 1 - t^{-c} \\
        R_t &= \beta_t\,R_{t-1} + (1 - \beta_t)\,(g_t^2 + \epsilon)\,1, \qquad
        C_t = \beta_t\,C_{t-1} + (1 - \beta_t)\,1^T (g_t^2 + \epsilon) \\
        u_t &= g_t / \sqrt{R_t\,C_t / 1^T R_t}

    Leaves of more than two axes are matrices of their two longest, for each index of the others;
    what is too small is not factored.

    Args:
        factored: whether averages are factored; False keeps the whole average for every leaf.
        decay_rate: power in the decay, :math:`c > 0`.
        step_offset: number subtracted from :math:`t`, which is 1 at least (in optax then a NaN).
        min_dim_size_to_factor: length that both axes must have at least, an integer.
        epsilon: added to squared gradients, :math:`\epsilon > 0`.
        decay_rate_fn: a function of :math:`t - 1` and ``decay_rate`` that gives :math:`\beta_t`;
            the above if None.
    """

    factored: Static[bool] = True
    decay_rate: Positive = 0.8
    step_offset: NonNegative = 0.0
    min_dim_size_to_factor: Static[int] = 128
    epsilon: Positive = 1e-30
    decay_rate_fn: Static[Callable[..., Any] | None] = None

    State = optax.FactoredState
    keeps_zero = True

    def axes(self, shape: tuple[int, ...]) -> tuple[int, int] | None:
        """The second longest axis and the longest, or None where they are not factored."""
        if not self.factored or len(shape) < 2:
            return None
        *_, small, large = sorted(range(len(shape)), key=shape.__getitem__)
        return (small, large) if shape[small] >= max(self.min_dim_size_to_factor, 1) else None

    def init_leaf(self, param: jax.Array) -> dict[str, Any]:
        row, col, whole = factored_zeros(param, self.axes(param.shape))
        return {"v_row": row, "v_col": col, "v": whole}

    def precompute(self, t: Numeric) -> Any:
        t = jnp.maximum(t - self.step_offset, 1)
        if self.decay_rate_fn is not None:
            return self.decay_rate_fn(t - 1, self.decay_rate)
        return 1 - t**-self.decay_rate

    def update_leaf(self, grad: jax.Array, slots: Slots, param: Any, ctx: Context) -> LeafUpdate:
        moments = slots.v_row, slots.v_col, slots.v
        # By its slots, so that a gradient of another shape is not taken for another leaf's.
        axes = None if isinstance(slots.v, jax.Array) else self.axes(grad.shape)
        factor, (row, col, whole) = inverse_root(
            abs_sq(grad) + self.epsilon, moments, ctx.precomputed, axes
        )
        return grad * factor, {"v_row": row, "v_col": col, "v": whole}


def factored_zeros(param: jax.Array, axes: tuple[int, int] | None) -> tuple[Any, Any, Any]:
    """Rows, columns and whole of a second moment; an empty tuple for what there is not."""
    whole = real_zeros(param)
    if axes is None:
        return (), (), whole
    small, large = axes
    return jnp.sum(whole, large), jnp.sum(whole, small), ()


def inverse_root(
    square: jax.Array, moments: tuple[Any, Any, Any], decay: Any, axes: tuple[int, int] | None
) -> tuple[jax.Array, tuple[Any, Any, Any]]:
    """One over the root of the new second moment, and its new slots.

    Args:
        square: the array that is averaged.
        moments: the slots, as :func:`factored_zeros` returns them.
        decay: decay of the average, a number in [0, 1).
        axes: the axis that the columns lack and the axis that the rows lack; not factored if None.
    """
    row, col, whole = moments
    # A square that is too large for its precision would leave no ratio of row and column.
    square = jnp.minimum(square, jnp.finfo(square.dtype).max / 4)
    if axes is None:
        whole = moment(square, whole, decay)
        return jax.lax.rsqrt(whole), ((), (), whole)
    small, large = axes
    row = moment(_mean(square, large), row, decay)
    col = moment(_mean(square, small), col, decay)
    total = _mean(row, small - (small > large), keepdims=True)
    factor = jnp.expand_dims(jax.lax.rsqrt(row / total), large)
    return factor * jnp.expand_dims(jax.lax.rsqrt(col), small), (row, col, ())


def _mean(x: jax.Array, axis: int, keepdims: bool = False) -> jax.Array:
    """The mean along an axis; 0 of nothing."""
    # Divided first, so that the sum of large squares is no larger than they are.
    return jnp.sum(x / max(x.shape[axis], 1), axis, keepdims=keepdims)
