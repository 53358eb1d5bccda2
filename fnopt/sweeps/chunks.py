"""Runs of one structure in chunks: how many go at once, their program, and their epochs."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec

from fnopt.core.stacking import stacked
from fnopt.core.types import PyTree
from fnopt.data.arrays import Arrays
from fnopt.sweeps.begin import first_states, state_of
from fnopt.sweeps.data import Entrant, RunRecord
from fnopt.sweeps.memory import Need, bytes_of, lower_bound, most_runs, need_of, size
from fnopt.sweeps.program import Plan, Report, Runs, Sets, run_epoch
from fnopt.train.objective import Objective
from fnopt.train.state import TrainState
from fnopt.train.stopping import best_of

logger = logging.getLogger("fnopt")


@dataclasses.dataclass(frozen=True)
class Chunk:
    """Runs that go at once.

    Attributes:
        numbers: their numbers in the sweep.
        slots: places for runs in their program, at least as many.
    """

    numbers: tuple[int, ...]
    slots: int


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
    def shared(self) -> tuple[Any, ...]:
        """What the program of an epoch gets beside the runs, at the first epoch."""
        return self.keys[0], jnp.int32(0), self.data, self.sets

    def begin(self, chunk: Chunk) -> Runs:
        """The runs of a chunk before their first epoch; places without a run are over."""
        numbers = [*chunk.numbers, *chunk.numbers[:1] * (chunk.slots - len(chunk.numbers))]
        states = first_states(
            stacked([self.entrants[number].tx for number in numbers]),
            jnp.asarray([self.places[number] for number in numbers], jnp.int32),
            self.starts,
            self.keys,
            self.stopping,
            packs(),
        )
        going = np.arange(chunk.slots) < len(chunk.numbers)
        runs = Runs(states, jnp.asarray(going), jnp.full(chunk.slots, -1, jnp.int32))
        if self.plan.mesh is None:
            return runs
        return jax.device_put(runs, NamedSharding(self.plan.mesh, self.plan.of_runs))

    def shapes(self, chunk: Chunk) -> Runs:
        """The shapes of the runs of a chunk, as :meth:`begin` returns them."""
        one = jax.eval_shape(lambda: self.begin_one(chunk.numbers[0]))
        mesh = self.plan.mesh
        sharding = None if mesh is None else NamedSharding(mesh, self.plan.of_runs)

        def wider(x: Any) -> Any:
            shape = chunk.slots, *x.shape[1:]
            return jax.ShapeDtypeStruct(shape, x.dtype, sharding=sharding)

        return jax.tree.map(wider, one)

    def begin_one(self, number: int) -> Runs:
        """One run alone, on one device."""
        alone = dataclasses.replace(self, plan=dataclasses.replace(self.plan, mesh=None))
        return alone.begin(Chunk((number,), 1))


def packs() -> bool:
    """Whether small arrays of the runs are stored packed, as it makes steps faster."""
    # There a step costs what its kernels cost. On a CPU packing is a copy more of all parameters.
    return jax.default_backend() != "cpu"


class Program:
    """The compiled program of an epoch for chunks of so many runs.

    Args:
        training: what the runs have in common.
        chunk: a chunk of that size.
    """

    def __init__(self, training: Training, chunk: Chunk) -> None:
        shapes, shared = training.shapes(chunk), training.shared
        leaves, structure = jax.tree.flatten((shapes, shared))
        signature = tuple((x.shape, x.dtype, x.sharding) for x in leaves)
        known = vars(training.objective).setdefault("_programs", {})
        key = run_epoch.function, training.plan, structure, signature
        if key not in known:
            # Ahead of time, since what is compiled so says what memory it takes.
            traced = run_epoch.of(training.objective).lower(shapes, *shared, training.plan)
            known[key] = traced.compile()
        self.compiled = known[key]
        own = -(-chunk.slots // training.devices)
        parts = jax.tree.map(lambda x: jax.ShapeDtypeStruct((own, *x.shape[1:]), x.dtype), shapes)
        self.need = need_of(self.compiled, parts, shared, own)

    def __call__(self, runs: Runs, key: Any, start: int, data: Any, sets: Any) -> Any:
        return self.compiled(runs, key, jnp.int32(start), data, sets)


def chunks_of(
    training: Training,
    numbers: Sequence[int],
    limit: int,
    say: Callable[[str], None],
    slots: int | None = None,
) -> tuple[list[Chunk], Program]:
    """Runs of one structure in chunks that fit into memory, and the program of all of them.

    Args:
        training: what the runs have in common.
        numbers: the numbers of the runs.
        limit: memory of each device in bytes.
        say: says what memory they take.
        slots: how many went at once in chunks that are finished, so that those to come are the
            same program; None where there is none.

    Raises:
        ValueError: the memory is too small for one run.
    """
    devices = training.devices
    what = training.entrants[numbers[0]].label
    least = Need(bytes_of(training.shared), lower_bound(training.shapes(Chunk((numbers[0],), 1))))
    most = most_runs(least, limit, what) * devices
    while True:
        chunks = split(numbers, slots, 1) if slots else split(numbers, most, devices, even=True)
        program = Program(training, chunks[0])
        own = chunks[0].slots // devices
        if program.need.of(own) <= limit or own == 1:
            break
        most, slots = min(most_runs(program.need, limit, what), own - 1) * devices, None
    most_runs(program.need, limit, what)  # refuses what does not fit once
    at_once = f"{chunks[0].slots} at once" if len(chunks) > 1 else "all at once"
    words = (
        f"{len(numbers)} runs of {what}, {at_once}: about {size(program.need.of(own))} of memory"
        f"{' on each device' if devices > 1 else ''}, {size(program.need.each)} a run"
    )
    logger.info("sweep: %s", words)
    say(words)
    return chunks, program


def split(numbers: Sequence[int], most: int, devices: int, even: bool = False) -> list[Chunk]:
    """Numbers in chunks for one program.

    Args:
        numbers: the numbers of the runs.
        most: most runs that go at once.
        devices: number of devices, of which the places in a chunk are a multiple.
        even: whether the chunks are nearly of one size; otherwise each but the last has the most.
    """
    count = -(-len(numbers) // most)
    slots = -(-len(numbers) // count) if even else most
    slots = -(-slots // devices) * devices
    parts = [tuple(numbers[i : i + slots]) for i in range(0, len(numbers), slots)]
    return [Chunk(part, slots) for part in parts]


@dataclasses.dataclass
class Finished:
    """A chunk whose runs are over.

    Attributes:
        records: the records of the runs.
        states: the final states by the number of the run, of those asked for.
    """

    records: list[RunRecord]
    states: dict[int, TrainState]


def run_chunk(
    training: Training,
    chunk: Chunk,
    program: Program,
    on_epoch: Callable[[int, dict[str, np.ndarray]], None],
    choose: Callable[[list[RunRecord]], list[int]],
) -> Finished:
    """Runs a chunk to its end.

    Args:
        training: what the runs have in common.
        chunk: the runs.
        program: their program.
        on_epoch: called after each epoch with its number and the metrics, arrays by name.
        choose: a function of the records that returns the numbers of runs whose states to keep.
    """
    runs, size_of_chunk = training.begin(chunk), len(chunk.numbers)
    key, _, data, sets = training.shared
    columns: dict[str, np.ndarray] = {}
    stopped, diverged = np.zeros(size_of_chunk, int), np.full(size_of_chunk, -1)
    for epoch in range(training.epochs):
        runs, report = program(runs, key, epoch * training.steps, data, sets)
        report = jax.tree.map(lambda x: x[..., :size_of_chunk], jax.device_get(report))
        metrics = _metrics(report)
        for name, values in metrics.items():
            empty = np.full((training.epochs, size_of_chunk), np.nan)
            columns.setdefault(name, empty)[epoch] = values
        stopped[report.complete & ~report.going] = epoch + 1
        diverged = report.diverged
        on_epoch(epoch + 1, metrics)
        if not report.going.any():
            break
    records = [
        RunRecord(
            number,
            training.entrants[number],
            training.seeds[training.places[number]],
            np.arange(1, training.epochs + 1),
            {name: values[:, i].copy() for name, values in columns.items()},
            None if diverged[i] < 0 else int(diverged[i]),
            int(stopped[i]) or None,
        )
        for i, number in enumerate(chunk.numbers)
    ]
    kept = choose(records)
    return Finished(
        records,
        {n: _final(training, runs.states, chunk.numbers.index(n)) for n in kept},
    )


def _metrics(report: Report) -> dict[str, np.ndarray]:
    """The metrics of an epoch, NaN for runs that did not complete it."""
    with np.errstate(invalid="ignore", over="ignore"):
        steps = {name: np.mean(x, axis=0, dtype=np.float64) for name, x in report.steps.items()}
    both = steps | {name: np.asarray(x, np.float64) for name, x in report.evaluation.items()}
    return {name: np.where(report.complete, x, np.nan) for name, x in both.items()}


def _final(training: Training, states: TrainState, place: int) -> TrainState:
    """The final state of a run; with early stopping that restores, the best."""
    state = state_of(states, place)
    if training.plan.mesh is not None:
        state = jax.device_put(state, training.plan.mesh.devices.flat[0])
    stopping = state.stopping
    return best_of(state) if stopping and stopping.has_best(state.stopping_state) else state


def replicated(tree: PyTree, plan: Plan) -> PyTree:
    """Arrays on every device of a sweep.

    Args:
        tree: the arrays.
        plan: has the mesh; without one they are on the default device.
    """
    if plan.mesh is None:
        return jax.tree.map(jnp.asarray, tree)
    return jax.device_put(tree, NamedSharding(plan.mesh, PartitionSpec()))
