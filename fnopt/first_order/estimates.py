"""Estimates of the curvature that are made in some of the updates only."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from fnopt.core import Outcome
from fnopt.core.types import Numeric


def is_due(count: jax.Array, interval: Numeric) -> jax.Array:
    """Whether the update at a count makes an estimate: the first one, and then each ``interval``.

    Args:
        count: the number of updates before it.
        interval: number of updates from one estimate to the next, at least 1; it is rounded.
    """
    return count % jnp.round(jnp.asarray(interval)).astype(count.dtype) == 0


def outcome_of_estimate(estimate: Outcome | None, due: jax.Array) -> Outcome | None:
    """What an update evaluated that made an estimate if it was due.

    Args:
        estimate: the outcome of the transform that makes the estimates.
        due: a flag, whether the update made one.
    """
    if estimate is None:
        return None
    counts: Any = (jnp.where(due, count, 0) for count in estimate[2:])
    return Outcome(None, None, *counts)
