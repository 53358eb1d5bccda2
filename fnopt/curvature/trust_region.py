"""Trust regions: how good a model was at a trial point, and what its radius is next."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from fnopt.core.moments import cast
from fnopt.core.types import Numeric


def reduction_ratio(
    value: jax.Array,
    new_value: jax.Array,
    predicted: jax.Array,
    slope: Any = None,
    new_slope: Any = None,
) -> jax.Array:
    r"""The decrease of the loss at a trial point over the decrease that a model predicted.

    .. math:: \rho = \frac{L(\theta) - L(\theta + p)}{m(0) - m(p)}

    It is :math:`-\infty`, which every threshold rejects, where the loss or the slope at the trial
    point, or the prediction, is not finite, or where a rise is predicted, and 1 where the
    prediction is 0.

    The decrease is a difference of nearly equal numbers close to a minimum. Where slopes are given
    and the prediction is below :math:`10^4` units of rounding of the loss, it is
    :math:`-\tfrac12 \langle \nabla L(\theta) + \nabla L(\theta + p), p \rangle` instead, which is
    exact for quadratics, unless the loss has risen by more than that. Without slopes ten units of
    rounding are added to both decreases, so that the ratio tends to 1.

    Args:
        value: the loss :math:`L(\theta)`, a scalar.
        new_value: the loss at the trial point.
        predicted: the decrease that the model predicts, at least 0.
        slope: :math:`\langle \nabla L(\theta), p \rangle`; None where it is not known.
        new_slope: :math:`\langle \nabla L(\theta + p), p \rangle`; None where it is not known.

    Returns:
        A scalar with the dtype of ``predicted``.

    References:
        Conn, Gould & Toint, *Trust-region methods*, SIAM 2000, Section 17.4.2, for ratios near
        convergence; Hager & Zhang, SIAM Journal on Optimization 16, 2005, Section 4, for slopes
        instead of values.
    """
    dtype = predicted.dtype
    value, new_value = cast(value, dtype), cast(new_value, dtype)
    actual = value - new_value
    rounding = jnp.finfo(dtype).eps * jnp.maximum(jnp.abs(value), jnp.abs(new_value))
    finite = jnp.isfinite(new_value) & jnp.isfinite(predicted)
    if slope is None or new_slope is None:
        actual, predicted = actual + 10 * rounding, predicted + 10 * rounding
    else:
        finite &= jnp.isfinite(new_slope)
        small = jnp.maximum(predicted, -actual) <= 1e4 * rounding
        # Halves first: their sum need not be representable.
        actual = jnp.where(small, -(cast(slope, dtype) / 2 + cast(new_slope, dtype) / 2), actual)
    one = jnp.ones_like(predicted)
    none = jnp.where(predicted >= -10 * rounding, one, -jnp.inf)
    ratio = jnp.where(predicted > 0, actual / jnp.where(predicted > 0, predicted, one), none)
    return jnp.where(finite & ~jnp.isnan(ratio), ratio, -jnp.inf * one)


def next_radius(
    radius: jax.Array, ratio: jax.Array, length: jax.Array, max_radius: Numeric | None = None
) -> jax.Array:
    r"""The radius of the next trust region, by Algorithm 4.1 of Nocedal & Wright.

    Below a ratio of 1/4 it is a quarter of the step's length (not of the radius, with which a step
    inside of the region would be tried again). Above 3/4, after a step to the boundary, it is
    twice as large, up to ``max_radius``. Otherwise it stays.

    Args:
        radius: the radius :math:`\Delta > 0`, inf for no bound.
        ratio: what :func:`reduction_ratio` returned.
        length: the length of the step in the norm of the region.
        max_radius: the largest radius; None for no limit.

    References:
        Nocedal & Wright, *Numerical optimization*, Springer, 2nd edition 2006, Algorithm 4.1.
    """
    limit = jnp.inf if max_radius is None else max_radius
    length, limit = cast(length, radius.dtype), jnp.asarray(limit, radius.dtype)
    tried = jnp.where(jnp.isfinite(length), jnp.minimum(length, radius), radius)
    smaller = jnp.maximum(tried / 4, jnp.finfo(radius.dtype).tiny)  # one of 0 would stay 0
    to_boundary = length >= 0.99 * radius  # computed steps end there up to rounding
    larger = jnp.where(to_boundary, jnp.minimum(2 * radius, limit), radius)
    return jnp.where(ratio < 0.25, smaller, jnp.where(ratio > 0.75, larger, radius))
