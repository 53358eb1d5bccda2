"""The parameters of schedule-free learning that are to be evaluated."""

from __future__ import annotations

import jax
import optax.contrib

from fnopt.core.types import OptState, Params
from fnopt.first_order.between import average_of


def averaged_params(state: OptState, params: Params) -> Params:
    """The average x that goes with the parameters y.

    Args:
        state: an ``optax.contrib.ScheduleFreeState``.
        params: the parameters y after the update that returned the state.
    """
    return average_of(params, state.z, state.b1)


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
