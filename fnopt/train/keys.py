"""The random keys of one step, all folded from the run's key and the number of the step."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax

from fnopt.train.state import TrainState


class Keys(NamedTuple):
    """The random keys of one step.

    Attributes:
        forward: key of dropout for the whole batch; see :func:`micro_batch_key`.
        update: key for what the optimizer draws.
        rounding: key of the stochastic rounding of the parameters.
    """

    forward: jax.Array
    update: jax.Array
    rounding: jax.Array


def step_keys(state: TrainState) -> Keys:
    """The keys of the step that starts from this state."""
    key = jax.random.fold_in(state.key, state.step)
    return Keys(*(jax.random.fold_in(key, i) for i in range(len(Keys._fields))))


def micro_batch_key(key: jax.Array, number: Any) -> jax.Array:
    """The key of dropout for a micro-batch.

    Args:
        key: the key of the whole batch, ``Keys.forward``.
        number: the number of the micro-batch, 0 for the first.
    """
    return jax.random.fold_in(key, number)
