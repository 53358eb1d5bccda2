"""Which leaves may be packed, and which of them together."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from fnopt.core.checks import brief
from fnopt.core.types import Params

LIMIT = 64 * 1024
"""Bytes up to which a leaf is packed, unless said otherwise."""


def check_limit(what: str, limit: Any) -> None:
    """Raises TypeError or ValueError where a limit is neither a number of bytes nor None."""
    allowed = f"{what}: limit must be a whole number of bytes, at least 0, or None for any size"
    if limit is None:
        return
    if isinstance(limit, bool) or not isinstance(limit, (int, np.integer)):
        raise TypeError(f"{allowed}, got {brief(limit, 40)} ({type(limit).__name__})")
    if limit < 0:
        raise ValueError(f"{allowed}, got {limit}")


def labels_of(tx: Any, params: Params) -> list[Any]:
    """For each leaf what it may be packed with; None for nothing."""
    if not hasattr(tx, "plan"):
        return [None] * len(jax.tree.leaves(params))
    plans = jax.tree.leaves(tx.plan(params))
    return [(p.buffer, p.frozen) if p.elementwise or p.slots else None for p in plans]


def is_small(leaf: Any, limit: int | None) -> bool:
    if not hasattr(leaf, "dtype") or not jnp.issubdtype(leaf.dtype, jnp.inexact) or not leaf.size:
        return False
    return limit is None or leaf.size * leaf.dtype.itemsize <= limit


def sharding_of(leaf: Any) -> Any:
    """What must be the same of two leaves in one buffer; another value for each sharded leaf."""
    sharding = getattr(leaf, "sharding", None)
    if isinstance(leaf, Tracer) or sharding is None or len(sharding.device_set) == 1:
        return None
    return frozenset(sharding.device_set) if sharding.is_fully_replicated else object()
