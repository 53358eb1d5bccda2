"""Runs that are trained further and further, fewer and fewer of them, by one program."""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable, Sequence
from typing import Any

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
from fnopt.train.about import is_key
from fnopt.train.state import TrainState


class Rungs:
    """Runs of which some go on, rung by rung, from the states that they have.

    The runs of a structure are one program, of so many places that all rungs together take the
    least time (:func:`places_of`). In a rung of more runs they go one chunk after the other; those
    of the next are put together anew, in fewer chunks. Between two rungs the states are in the
    memory of the host.

    Args:
        training: what the runs have in common.
        limit: memory of each device in bytes.
        rungs: for each rung the number of runs that are expected and the epochs at its end.
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
        rungs: Sequence[tuple[int, int]],
        bar: SweepProgress,
        best: Keeper,
    ) -> None:
        self.training, self.limit, self.rungs = training, limit, rungs
        self.bar, self.best = bar, best
        number = len(training.entrants)
        self.log = Log(training, range(number))
        self.trained = np.zeros(number, int)
        self._epochs = 0
        self._groups = groups_of(entrant.tx for entrant in training.entrants)
        self._programs: dict[int, tuple[int, Program]] = {}
        # For each run the leaves of its chunk, on the host, and its place in it.
        self._held: dict[int, tuple[list[np.ndarray], int]] = {}

    @property
    def programs(self) -> int:
        """Number of the programs that ran."""
        return len(self._programs)

    def advance(
        self,
        numbers: Sequence[int] | np.ndarray,
        epochs: int,
        interrupted: Callable[[], Any] = lambda: False,
    ) -> None:
        """Trains some runs further; all others are over.

        Args:
            numbers: the numbers of the runs, none of which is over; a run that diverged rests.
            epochs: how many epochs each shall have had after it.
            interrupted: asked after each epoch, whether to leave out the rest; then ``trained``
                says how far each run came.
        """
        chosen = [int(number) for number in numbers if self.log.going[number]]
        self._held = {number: self._held[number] for number in chosen if number in self._held}
        left, between = set(chosen), range(self._epochs, epochs)
        self.trained[[int(number) for number in numbers if number not in left]] = epochs
        for group, members in enumerate(self._groups):
            ahead = [number for number in members if number in left]
            if not ahead or interrupted():
                continue
            chunks, program = self._chunks(group, ahead)
            for chunk in chunks:
                if interrupted():
                    break
                runs, places = self._begin(chunk), np.asarray(chunk.numbers)
                report = functools.partial(self._on_epoch, len(places))
                runs = run_epochs(self.log, runs, places, program, between, report, interrupted)
                leaves = [_on_host(leaf) for leaf in jax.tree.leaves(runs)]
                self._held |= {number: (leaves, i) for i, number in enumerate(chunk.numbers)}
                going = self.log.going[places]
                self.trained[places] = np.where(going, self.log.epochs[places], epochs)
                self.bar.chunk(len(places))
        self._epochs = epochs

    def stop_early(self) -> None:
        """Notes of each run that was left behind or interrupted the epoch after which it was."""
        left = (self.log.diverged < 0) & (self.trained < self.training.epochs)
        self.log.stopped[left] = self.trained[left]

    def records(self) -> tuple[RunRecord, ...]:
        """The records of all runs that have begun."""
        return tuple(self.log.record(int(number)) for number in np.flatnonzero(self.trained))

    def states(self) -> dict[int, TrainState]:
        """The states of the runs that were left in and did not diverge, by their numbers."""
        states = {}
        for number in self._held:
            if self.log.diverged[number] < 0:
                runs = self._gathered(Chunk((number,), 1))
                states[number] = final_state(self.training, runs.states, 0)
        return states

    def _chunks(self, group: int, numbers: list[int]) -> tuple[list[Chunk], Program]:
        devices = self.training.devices
        if group in self._programs:
            slots, program = self._programs[group]
            return split(numbers, slots, devices), program
        self.bar.doing("compiling")
        own, all_ = len(self._groups[group]), len(self.training.entrants)
        rungs = [(-(-runs * own // all_), epochs) for runs, epochs in self.rungs]
        slots = places_of(rungs, devices)
        chunks, program = chunks_of(self.training, numbers, self.limit, self.bar.say, slots)
        self._programs[group] = chunks[0].slots, program
        return chunks, program

    def _begin(self, chunk: Chunk) -> Runs:
        if not self._epochs:
            return self.training.begin(chunk)
        return jax.device_put(self._gathered(chunk), self.training.sharding or jax.devices()[0])

    def _gathered(self, chunk: Chunk) -> Runs:
        """The runs of a chunk from where they wait; further places are over."""
        empty = chunk.slots - len(chunk.numbers)
        held = [self._held[number] for number in chunk.numbers + chunk.numbers[:1] * empty]
        like, structure = jax.tree.flatten(self.training.shapes(Chunk(chunk.numbers, 1)))
        leaves = [
            _from_host(np.stack([leaves[i][place] for leaves, place in held]), x)
            for i, x in enumerate(like)
        ]
        runs = structure.unflatten(leaves)
        return runs._replace(going=runs.going & (np.arange(chunk.slots) < len(chunk.numbers)))

    def _on_epoch(self, at_once: int, epoch: int, metrics: dict[str, np.ndarray]) -> None:
        self.best.see(metrics)
        self.bar.epoch(epoch - self._epochs, at_once, self.best.value)


def places_of(rungs: Sequence[tuple[int, int]], devices: int) -> int:
    """The places of the program with which all rungs together take the least time.

    With few places the many runs of the first rungs go in many chunks; with many, most of them are
    empty in the last rungs, whose epochs are the most. As the rungs of a bracket cost about the
    same, one program of a size between takes little more than a program for each rung would.

    Args:
        rungs: for each rung the number of runs and the epochs at its end.
        devices: number of devices over which the places are spread.

    >>> places_of([(81, 1), (27, 3), (9, 9), (3, 27), (1, 81)], 1)
    3
    """
    # An epoch of a chunk costs what it launches, and what each of its runs computes. On a CPU
    # launching costs as much as one small run; elsewhere, as many.
    fixed = 1 if jax.default_backend() == "cpu" else 16
    lengths = np.diff([0, *(epochs for _, epochs in rungs)]).tolist()

    def cost(own: int) -> int:
        chunks = (-(-runs // (own * devices)) for runs, _ in rungs)
        return sum(map(operator.mul, chunks, lengths)) * (fixed + own)

    return devices * min(sorted({-(-runs // devices) for runs, _ in rungs}), key=cost)


def _on_host(leaf: Any) -> np.ndarray:
    return np.asarray(jax.random.key_data(leaf) if is_key(leaf) else leaf)


def _from_host(leaf: np.ndarray, like: Any) -> Any:
    return jax.random.wrap_key_data(jnp.asarray(leaf)) if is_key(like) else leaf
