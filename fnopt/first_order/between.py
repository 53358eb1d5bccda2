"""Parameters between an optimizer's points and their average, where gradients are taken."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from fnopt.core import computing_dtype
from fnopt.core.moments import cast
from fnopt.core.types import Numeric, Params, PyTree


def average_of(params: Params, z: PyTree, weight: jax.Array) -> Params:
    """The average x of which the parameters are y, the share ``weight`` of x and the rest of z.

    Args:
        params: the parameters y.
        z: the optimizer's points, a tree like them.
        weight: a number in (0, 1].
    """

    def mean(y: Any, z: Any) -> Any:
        y = jnp.asarray(y)
        wide = computing_dtype(y.dtype, z.dtype, weight.dtype)
        with jax.numpy_dtype_promotion("standard"):
            wide_y = cast(y, wide)
            return cast(wide_y + _above(wide_y, cast(z, wide), weight), y.dtype)

    return jax.tree.map(mean, params, z)


def moved(
    y: Any, z: jax.Array, step: Any, share: Numeric, before: jax.Array, after: Numeric
) -> tuple[jax.Array, jax.Array]:
    """The change of one parameter y, and the next z, by a step of the optimizer.

    Args:
        y: the parameter.
        z: the optimizer's point.
        step: its step.
        share: share of the next z in the next average.
        before: weight of the average in y.
        after: weight of the next average in the next y.
    """
    wide = computing_dtype(jnp.result_type(y), z.dtype, before.dtype)
    y, old = cast(jnp.asarray(y), wide), cast(z, wide)
    new = cast(cast(old + cast(jnp.asarray(step), wide), z.dtype), wide)
    # As differences from y, which are exact where nothing moves.
    x = _above(y, old, before)
    x = x + share * (new - y - x)
    return x + (1 - after) * (new - y - x), cast(new, z.dtype)


def _above(y: Any, z: Any, weight: Any) -> Any:
    """The average less the point y between it and the optimizer's z."""
    return (1 - weight) / weight * (y - z)
