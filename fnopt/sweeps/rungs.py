"""Runs that are trained further and further, in fewer and fewer places."""

from __future__ import annotations

import functools
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from fnopt.core.stacking import groups_of
from fnopt.sweeps.chunks import Program, chunks_of, split
from fnopt.sweeps.data import RunRecord
from fnopt.sweeps.keeper import Keeper
from fnopt.sweeps.program import Runs
from fnopt.sweeps.progress import SweepProgress
from fnopt.sweeps.run import Log, final_state, run_epochs
from fnopt.sweeps.training import Chunk, Training
from fnopt.train.state import TrainState


class Rungs:
    """Runs of which some go on, rung by rung, from the states that they have.

    At the first rung the runs of a structure go at once, or in chunks where the memory does not
    hold all. When fewer are left they are put together anew, in as many places as the smallest rung
    has runs that holds them: a rung compiles at most one program for each structure, of a size that
    later rungs and calls use again. Between two rungs the states are in the memory of the host.

    Args:
        training: what the runs have in common.
        limit: memory of each device in bytes.
        sizes: the numbers of runs in the rungs.
        bar: shows what is done.
        best: has the best value of the metric, which the bar shows.

    Attributes:
        log: what the epochs measured.
        trained: for each run the number of epochs that it was trained for.
    """

    def __init__(
        self,
        training: Training,
        limit: int,
        sizes: Sequence[int],
        bar: SweepProgress,
        best: Keeper,
    ) -> None:
        self.training, self.limit, self.sizes = training, limit, sizes
        self.bar, self.best = bar, best
        number = len(training.entrants)
        self.log = Log(training, range(number))
        self.trained = np.zeros(number, int)
        self._epochs = 0
        self._groups = groups_of(entrant.tx for entrant in training.entrants)
        self._held: list[list[tuple[tuple[int, ...], Runs]]] = [[] for _ in self._groups]
        self._programs: dict[tuple[int, int], Program] = {}
        self._most: dict[int, int] = {}

    @property
    def programs(self) -> int:
        """Number of the programs that ran."""
        return len(self._programs)

    def advance(self, numbers: Sequence[int] | np.ndarray, epochs: int) -> None:
        """Trains some runs further; all others are over.

        Args:
            numbers: the numbers of the runs, none of which is over; a run that diverged rests.
            epochs: how many epochs each shall have had after it.
        """
        chosen = {int(number) for number in numbers if self.log.going[number]}
        for place, group in enumerate(self._groups):
            ahead = [number for number in group if number in chosen]
            held = []
            if ahead:
                self.bar.doing("compiling")
                chunks, program = self._chunks(place, ahead)
                for chunk in chunks:
                    runs = self._begin(place, chunk)
                    report = functools.partial(self._on_epoch, len(chunk.numbers))
                    places = np.asarray(chunk.numbers)
                    between = range(self._epochs, epochs)
                    runs = run_epochs(self.log, runs, places, program, between, report)
                    held.append((chunk.numbers, _on_host(runs)))
                    self.bar.chunk(len(chunk.numbers))
            self._held[place] = held
        self.trained[sorted(chosen)] = epochs
        self._epochs = epochs

    def stop_early(self) -> None:
        """Notes of each run that was left behind the epoch after which it was."""
        left = (self.log.diverged < 0) & (self.trained < self.training.epochs)
        self.log.stopped[left] = self.trained[left]

    def records(self) -> tuple[RunRecord, ...]:
        """The records of all runs."""
        return tuple(self.log.record(number) for number in range(len(self.training.entrants)))

    def states(self) -> dict[int, TrainState]:
        """The states of the runs of the last rung that did not diverge, by their numbers."""
        states = {}
        for numbers, runs in (pair for held in self._held for pair in held):
            for place, number in enumerate(numbers):
                if self.log.diverged[number] < 0:
                    state = final_state(self.training, runs.states, place)
                    states[number] = jax.device_put(state, jax.devices()[0])
        return states

    def _chunks(self, place: int, numbers: list[int]) -> tuple[list[Chunk], Program]:
        if place not in self._most:
            chunks, program = chunks_of(self.training, numbers, self.limit, self.bar.say)
            self._most[place] = chunks[0].slots
        else:
            most = self._most[place]
            slots = min((n for n in self.sizes if len(numbers) <= n < most), default=most)
            chunks = split(numbers, slots, self.training.devices)
            known = self._programs.get((place, chunks[0].slots))
            program = known or Program(self.training, chunks[0])
        self._programs[place, chunks[0].slots] = program
        return chunks, program

    def _begin(self, place: int, chunk: Chunk) -> Runs:
        """The runs of a chunk, of those that were trained before."""
        if not self._epochs:
            return self.training.begin(chunk)
        at, trees, before = {}, [], 0
        for numbers, runs in self._held[place]:
            trees.append(runs)
            at.update((number, before + i) for i, number in enumerate(numbers))
            before += len(runs.going)
        places = [at[number] for number in chunk.numbers]
        empty = chunk.slots - len(places)
        # An array, since a list of numbers would be a program for each length.
        gathered = _gathered(tuple(trees), np.asarray(places + places[:1] * empty), len(places))
        return jax.device_put(gathered, self.training.sharding or jax.devices()[0])

    def _on_epoch(self, at_once: int, epoch: int, metrics: dict[str, np.ndarray]) -> None:
        self.best.see(metrics)
        self.bar.epoch(epoch - self._epochs, at_once, self.best.value)


@functools.partial(jax.jit, static_argnums=2)
def _gathered(trees: tuple[Runs, ...], places: jax.Array, number: int) -> Runs:
    """Runs of several trees in one; those behind the first ``number`` only fill it."""
    runs = jax.tree.map(lambda *leaves: jnp.concatenate(leaves)[places], *trees)
    return runs._replace(going=runs.going & (jnp.arange(len(places)) < number))


def _on_host(runs: Runs) -> Runs:
    """Runs in the memory of the host, where that is a device of jax."""
    try:
        host = jax.devices("cpu")[0]
    except RuntimeError:  # JAX_PLATFORMS has another alone
        host = jax.devices()[0]
    return jax.device_put(runs, host)
