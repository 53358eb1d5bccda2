"""RAdam's rectification: how far the variance of a young mean square can be trusted."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp

from fnopt.core import Corrections, bias_correction, divide, root
from fnopt.core.bias import log_of_decay
from fnopt.core.types import Numeric


class Rectification(NamedTuple):
    """What RAdam needs of the count.

    Attributes:
        corrections: the divisors of both averages.
        certain: whether the mean square rests on enough gradients to divide by its root.
        rate: :math:`r_t`; 0 where it is not certain.
    """

    corrections: Corrections
    certain: jax.Array
    rate: jax.Array


def rectification(
    corrections: Corrections, b2: Numeric, t: jax.Array, threshold: Numeric
) -> Rectification:
    """What RAdam needs of the count in update ``t``.

    Args:
        corrections: the divisors of both averages in this update.
        b2: the decay of the mean square, in [0, 1).
        t: the number of the update, 1 for the first, a scalar in the dtype of the computation.
        threshold: the effective length from which the mean square is divided by, at least 4.
    """
    limit = (1 + b2) / (1 - b2)
    length = effective_length(b2, t)
    square = divide((length - 4) * (length - 2) * limit, (limit - 4) * (limit - 2) * length)
    certain = length >= threshold
    return Rectification(corrections, certain, root(jnp.where(certain, square, 0.0)))


def effective_length(b2: Numeric, t: jax.Array) -> jax.Array:
    r""":math:`\rho_t`, without the cancellation of its two terms where both are much larger.

    With :math:`a = -\log \beta_2` it is
    :math:`\coth\tfrac a2 - t\,(\coth\tfrac{a t}2 - 1)`, hence
    :math:`t + \tfrac2a\,(h(\tfrac a2) - h(\tfrac{a t}2))` with :math:`h(x) = x \coth x - 1`.
    """
    half = jnp.asarray(-0.5 * log_of_decay(b2), t.dtype)
    early = t + (_excess_of_coth(half) - _excess_of_coth(jnp.minimum(half * t, 1.0))) / half
    # Of the terms as they are written the second is small later on.
    late = (1 + b2) / (1 - b2) - 2 * t * (1 / bias_correction(b2, t) - 1)
    return jnp.where(half * t < 1, early, late)


def _excess_of_coth(x: jax.Array) -> jax.Array:
    """x coth x - 1, by its series near 0."""
    square = x * x
    series = square / 3 * (1 - square / 15 * (1 - square * 2 / 21 * (1 - square / 10)))
    far = jnp.maximum(x, 0.1)
    return jnp.where(x < 0.1, series, far / jnp.tanh(far) - 1)
