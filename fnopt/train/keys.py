"""The keys of one step, all folded from the run's key and the number of the step."""

from __future__ import annotations

from typing import NamedTuple

import jax

from fnopt.train.state import TrainState


class Keys(NamedTuple):
    """What a step draws from.

    Attributes:
        forward: dropout, of the whole batch; each micro-batch's own is folded from it.
        update: what the optimizer draws.
        rounding: stochastic rounding of the parameters.
    """

    forward: jax.Array
    update: jax.Array
    rounding: jax.Array


def keys_of(state: TrainState) -> Keys:
    """The keys of the step that is made from this state."""
    key = jax.random.fold_in(state.key, state.step)
    return Keys(*(jax.random.fold_in(key, i) for i in range(len(Keys._fields))))
