"""What all runs of a sweep have in common, and the runs of a chunk before their first epoch."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec

from fnopt.core.stacking import stacked
from fnopt.core.types import PyTree
from fnopt.data.arrays import Arrays
from fnopt.sweeps.begin import first_states
from fnopt.sweeps.data import Entrant
from fnopt.sweeps.program import Plan, Runs, Sets
from fnopt.train.objective import Objective


@dataclasses.dataclass(frozen=True)
class Chunk:
    """Runs that go at once.

    Attributes:
        numbers: their numbers in the sweep.
        slots: places for runs in their program, at least as many.
        groups: how many groups of these a device goes through one after another.
    """

    numbers: tuple[int, ...]
    slots: int
    groups: int = 1


@dataclasses.dataclass(frozen=True, eq=False)
class Training:
    """What all runs of a sweep have in common.

    Attributes:
        objective: the objective to minimize.
        entrants: the optimizer of each run.
        places: for each run the place of its seed among the seeds.
        seeds: the seeds.
        starts: parameters and model state for each seed, stacked.
        keys: the key of each seed.
        stopping: early stopping, or None.
        data: the training data.
        sets: the data to evaluate.
        steps: steps of an epoch.
        epochs: number of epochs.
        plan: what is fixed in the program of an epoch.
    """

    objective: Objective
    entrants: tuple[Entrant, ...]
    places: tuple[int, ...]
    seeds: tuple[int, ...]
    starts: PyTree
    keys: jax.Array
    stopping: Any
    data: Arrays
    sets: Sets
    steps: int
    epochs: int
    plan: Plan

    @property
    def devices(self) -> int:
        """Number of devices over which runs are spread."""
        return 1 if self.plan.mesh is None else self.plan.mesh.size

    @property
    def sharding(self) -> NamedSharding | None:
        """How the runs lie on the mesh; None without one."""
        mesh = self.plan.mesh
        return None if mesh is None else NamedSharding(mesh, self.plan.of_runs)

    @property
    def alone(self) -> Training:
        """The same on one device."""
        return dataclasses.replace(self, plan=dataclasses.replace(self.plan, mesh=None))

    @property
    def shared(self) -> tuple[Any, ...]:
        """What the program of an epoch gets beside the runs, at the first epoch."""
        return self.keys[0], jnp.int32(0), self.orders(0), self.data, self.sets

    def orders(self, epoch: int) -> jax.Array:
        """The examples of each step of an epoch, of shape (seeds, steps, batch size).

        Where all runs have one order, it is that of the first seed alone.

        Args:
            epoch: number of the epoch, 0 for the first.
        """
        start, size = epoch * self.steps, self.plan.batch_size
        if self.plan.same_order:
            return self.data.order(self.keys[0], start, size)[None]
        return jax.vmap(lambda key: self.data.order(key, start, size))(self.keys)

    def begin(self, chunk: Chunk) -> Runs:
        """The runs of a chunk before their first epoch; places without a run are over."""
        numbers = [*chunk.numbers, *chunk.numbers[:1] * (chunk.slots - len(chunk.numbers))]
        places = jnp.asarray([self.places[number] for number in numbers], jnp.int32)
        optimizers = stacked([self.entrants[number].tx for number in numbers])
        states = first_states(
            optimizers, places, self.starts, self.keys, self.stopping,
            self.sharding, self.plan.precision,
        )  # fmt: skip
        going = np.arange(chunk.slots) < len(chunk.numbers)
        if self.plan.same_order:
            places = jnp.zeros_like(places)
        runs = Runs(states, jnp.asarray(going), jnp.full(chunk.slots, -1, jnp.int32), places)
        return runs if self.sharding is None else jax.device_put(runs, self.sharding)

    def shapes(self, chunk: Chunk) -> Runs:
        """The shapes of the runs of a chunk, as :meth:`begin` returns them."""
        one = jax.eval_shape(lambda: self.begin_one(chunk.numbers[0]))

        def wider(x: Any) -> Any:
            shape = chunk.slots, *x.shape[1:]
            return jax.ShapeDtypeStruct(shape, x.dtype, sharding=self.sharding)

        return jax.tree.map(wider, one)

    def begin_one(self, number: int) -> Runs:
        """One run alone, on one device."""
        return self.alone.begin(Chunk((number,), 1))


def replicated(tree: PyTree, plan: Plan) -> PyTree:
    """Arrays on every device of a sweep.

    Args:
        tree: the arrays.
        plan: has the mesh; without one they are on the default device.
    """
    if plan.mesh is None:
        return jax.tree.map(jnp.asarray, tree)
    return jax.device_put(tree, NamedSharding(plan.mesh, PartitionSpec()))
