"""Bias correction: the divisors of averages that start at 0."""

from __future__ import annotations

import math
import sys
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from fnopt.core.moments import root
from fnopt.core.types import Numeric


def bias_correction(decay: Numeric, t: Numeric) -> jax.Array:
    r"""What an average that started at 0 is to be divided by: :math:`1 - \beta^t`.

    That is for a constant decay. For a scheduled one it takes the present value, as
    ``optax.inject_hyperparams`` does; exact would be :math:`1 - \prod_i \beta_i`.

    The result has the precision of its dtype from the first update on. In single precision
    :math:`1 - \beta^t` as it is written does not: of :math:`\beta = 0.999`, which is rounded before
    it is subtracted from 1, the first is off by 1.3e-5.

    Args:
        decay: :math:`\beta \in [0, 1)`, a scalar. A Python float is exact; an array is taken to be
            exact as it is.
        t: the number of the update, 0 or more, a scalar in the dtype of the computation.
    """
    if isinstance(decay, float):
        return -jnp.expm1(t * log_of_decay(decay))
    return _bias_correction(decay, t)


def log_of_decay(decay: Numeric) -> Numeric:
    """The logarithm of a decay in [0, 1), finite at 0; of a Python float in double precision."""
    if isinstance(decay, float):
        return math.log(max(decay, sys.float_info.min))
    # 1 - decay is exact where the logarithm is small.
    return jnp.maximum(jnp.log1p(-(1 - decay)), -1e4)


@jax.custom_jvp
def _bias_correction(decay: jax.Array, t: Numeric) -> jax.Array:
    return -jnp.expm1(t * log_of_decay(decay))


@_bias_correction.defjvp
def _bias_correction_jvp(primals: Any, tangents: Any) -> Any:
    # By the power, which has slopes at a decay of 0, where the logarithm has none.
    _, slope = jax.jvp(lambda decay, t: 1 - decay**t, primals, tangents)
    return _bias_correction(*primals), slope


class Corrections(NamedTuple):
    """The divisors of the two averages that Adam and its relatives have.

    Attributes:
        mu: divisor of the mean of gradients.
        nu: divisor of the mean of their squares.
        mu_next: divisor of the mean after the next update, for Nesterov's momentum; None without.
    """

    mu: Numeric
    nu: Numeric
    mu_next: Numeric = None


def bias_corrections(b1: Numeric, b2: Numeric, t: Numeric, nesterov: bool = False) -> Corrections:
    """The divisors of a mean and of a mean square in update ``t``.

    Args:
        b1: the decay of the mean, in [0, 1).
        b2: the decay of the mean square, in [0, 1).
        t: the number of the update, 1 for the first.
        nesterov: whether :func:`corrected_mean` is to look one update ahead.
    """
    mu_next = bias_correction(b1, t + 1) if nesterov else None
    return Corrections(bias_correction(b1, t), bias_correction(b2, t), mu_next)


def rate_correction(b1: Numeric, b2: Numeric, t: Numeric) -> jax.Array:
    r"""Adam's corrections as a factor of its rate: :math:`\sqrt{1 - \beta_2^t} / (1 - \beta_1^t)`.

    Args:
        b1: :math:`\beta_1`, the decay of the mean, in [0, 1).
        b2: :math:`\beta_2`, the decay of the mean square, in [0, 1).
        t: the number of the update, 1 for the first.
    """
    return root(bias_correction(b2, t)) / bias_correction(b1, t)


def corrected_mean(
    mu: jax.Array, grad: jax.Array, b1: Numeric, corrections: Corrections
) -> jax.Array:
    """The mean of gradients without the bias of its start; with Nesterov's momentum if planned.

    Args:
        mu: the mean, the gradient included.
        grad: the gradient.
        b1: the decay of the mean.
        corrections: those of this update, from :func:`bias_corrections`.
    """
    if corrections.mu_next is None:
        return mu / corrections.mu
    return b1 * mu / corrections.mu_next + (1 - b1) * grad / corrections.mu
