"""The first train states of many runs, made in one program and stacked."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from fnopt.core.stacking import stacked
from fnopt.core.types import Batch, ModelState, Params, PyTree
from fnopt.train.layout import gains
from fnopt.train.objective import Objective
from fnopt.train.precision import Precision
from fnopt.train.state import TrainState

Start = tuple[Params, ModelState]
"""Parameters and model state with which a run begins."""


def starts_of(
    objective_of: Callable[[int], Objective], seeds: Sequence[int], batch: Batch
) -> tuple[PyTree, jax.Array]:
    """Parameters and model state for each seed, as :func:`fnopt.train.fit` begins with them.

    Args:
        objective_of: a function of the seed that returns the objective.
        seeds: the seeds.
        batch: an example batch, for models whose shapes follow from it.

    Returns:
        The pair, its leaves stacked over the seeds; and the keys of the runs, likewise.

    Raises:
        ValueError: the objectives of two seeds begin with parameters of other shapes.
    """
    keys = [jax.random.key(seed) for seed in seeds]
    pairs = zip(seeds, keys, strict=True)
    begun = [objective_of(seed).init(key, batch) for seed, key in pairs]
    try:
        return stacked(begun), jnp.stack(keys)
    except ValueError:
        raise ValueError(
            "sweep: the objectives of the seeds have parameters of other structures or shapes; all"
            " must be of one model"
        ) from None


class _Begun(Objective):
    """What begins with parameters that are there already."""

    def __init__(self, start: Start) -> None:
        self.start = start

    def init(self, key: jax.Array, batch: Batch) -> Start:
        return self.start


@functools.partial(jax.jit, static_argnums=(5, 6))
def first_states(
    optimizers: Any,
    seeds: jax.Array,
    starts: PyTree,
    keys: jax.Array,
    stopping: Any,
    sharding: Any = None,
    precision: Precision | None = None,
) -> TrainState:
    """The states before the first step, stacked; their small arrays are packed.

    Args:
        optimizers: the optimizer of each run, their leaves stacked.
        seeds: for each run the place of its seed.
        starts: parameters and model state of each seed, stacked.
        keys: the key of each seed.
        stopping: early stopping, or None.
        sharding: how the runs lie on several devices; None for one.
        precision: the precision of the steps; None leaves dtypes as they are.
    """

    def begin(tx: Any, place: jax.Array) -> TrainState:
        start: Any = jax.tree.map(lambda x: x[place], starts)
        state = TrainState.create(
            _Begun(start), tx, keys[place], precision=precision, stopping=stopping
        )
        return state.packed(precision) if gains(state, precision) else state

    states = jax.vmap(begin)(optimizers, seeds)
    return states if sharding is None else jax.lax.with_sharding_constraint(states, sharding)


@jax.jit
def state_of(states: TrainState, place: Any) -> TrainState:
    """The state of one run, unpacked.

    Args:
        states: states of several runs, stacked.
        place: the place of the run among them.
    """
    return jax.tree.map(lambda x: x[place], states).unpacked()
