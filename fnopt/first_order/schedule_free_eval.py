"""The parameters of schedule-free learning that are to be evaluated."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import optax.contrib

from fnopt.core import computing_dtype
from fnopt.core.moments import cast
from fnopt.core.types import OptState, Params


def above(y: Any, z: Any, b1: Any) -> Any:
    """The average less the point y between it and the optimizer's z."""
    return (1 - b1) / b1 * (y - z)


def averaged_params(state: OptState, params: Params) -> Params:
    """The average x that goes with the parameters y.

    Args:
        state: an ``optax.contrib.ScheduleFreeState``.
        params: the parameters y after the update that returned the state.
    """

    def mean(y: Any, z: Any) -> Any:
        y = jnp.asarray(y)
        wide = computing_dtype(y.dtype, z.dtype, state.b1.dtype)
        with jax.numpy_dtype_promotion("standard"):
            wide_y = cast(y, wide)
            return cast(wide_y + above(wide_y, cast(z, wide), state.b1), y.dtype)

    return jax.tree.map(mean, params, state.z)


def schedule_free_eval_params(state: OptState, params: Params) -> Params:
    """The averaged parameters, which are to be evaluated.

    Args:
        state: the state of :class:`fnopt.schedule_free`, or one that contains it, such as a
            chain's.
        params: the parameters that belong to this state.

    Raises:
        ValueError: there is no such state in it, or there are several.

    >>> import fnopt, jax.numpy as jnp
    >>> params, tx = jnp.array(1.0), fnopt.schedule_free_sgd(0.1)
    >>> fnopt.schedule_free_eval_params(tx.init(params), params)
    Array(1., dtype=float32)
    """
    kind = optax.contrib.ScheduleFreeState
    states = [
        node
        for node in jax.tree.leaves(state, is_leaf=lambda node: isinstance(node, kind))
        if isinstance(node, kind)
    ]
    if len(states) != 1:
        raise ValueError(
            f"schedule_free_eval_params needs the state of schedule_free; found {len(states)} in a"
            f" {type(state).__name__}"
        )
    return averaged_params(states[0], params)
