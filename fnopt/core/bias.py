"""Bias correction: what averages that start at 0 are divided by."""

from __future__ import annotations

from typing import NamedTuple

import jax

from fnopt.core.types import Numeric


def bias_correction(decay: Numeric, t: jax.Array) -> jax.Array:
    r"""What an average that started at 0 is to be divided by: :math:`1 - \beta^t`.

    That is for a decay that stays. Of one that is scheduled it is the present value's, as with
    ``optax.inject_hyperparams``; exact would be :math:`1 - \prod_i \beta_i`.
    """
    return 1 - decay**t


class Corrections(NamedTuple):
    """The divisors of the two averages that Adam and its relatives have.

    Attributes:
        mu: of the mean of gradients.
        nu: of the mean of their squares.
        mu_next: of the mean after the next update, for Nesterov's momentum; None without.
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
