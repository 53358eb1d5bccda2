"""A chunk of runs from their first epoch to their last."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np

from fnopt.sweeps.begin import state_of
from fnopt.sweeps.chunks import Program
from fnopt.sweeps.data import RunRecord
from fnopt.sweeps.program import Report, Runs
from fnopt.sweeps.training import Chunk, Training
from fnopt.train.state import TrainState
from fnopt.train.stopping import best_of


@dataclasses.dataclass
class Finished:
    """A chunk of which no more is run.

    Attributes:
        records: the records of the runs.
        states: the final states by the number of the run, of those asked for.
        whole: whether no interruption ended it.
    """

    records: list[RunRecord]
    states: dict[int, TrainState]
    whole: bool = True


class Log:
    """What the epochs of many runs measured, and how the runs ended.

    Args:
        training: what the runs have in common.
        numbers: the numbers of the runs.

    Attributes:
        epochs: for each run how many there were.
        columns: by the name of a metric its values, shape (epochs, runs); NaN where there is none.
        stopped: for each run the epoch after which it was stopped; 0 for none.
        diverged: for each run the step that was not finite; -1 for none.
        going: for each run whether it goes on.
        mean: of the steps of an epoch.
    """

    def __init__(self, training: Training, numbers: Sequence[int]) -> None:
        self.training, self.numbers = training, list(numbers)
        self.epochs = np.zeros(len(self.numbers), int)
        self.columns: dict[str, np.ndarray] = {}
        self.stopped = np.zeros(len(self.numbers), int)
        self.diverged = np.full(len(self.numbers), -1)
        self.going = np.ones(len(self.numbers), bool)
        # Under loss scaling the metrics of skipped steps are NaN.
        precision = training.plan.precision
        self.mean = np.mean if precision is None or precision.scaling is None else np.nanmean

    def add(self, epoch: int, places: Any, report: Report) -> dict[str, np.ndarray]:
        """Takes in an epoch.

        Args:
            epoch: its number, 0 for the first.
            places: the places of its runs in ``numbers``.
            report: what it measured, NumPy arrays.

        Returns:
            The metrics, arrays of shape (runs,) by name.
        """
        self.epochs[places] = epoch + 1
        metrics = _metrics(report, self.mean)
        for name, values in metrics.items():
            empty = np.full((self.training.epochs, len(self.numbers)), np.nan)
            self.columns.setdefault(name, empty)[epoch, places] = values
        stopped = np.where(report.complete & ~report.going, epoch + 1, self.stopped[places])
        self.stopped[places] = stopped
        self.diverged[places], self.going[places] = report.diverged, report.going
        return metrics

    def record(self, place: int) -> RunRecord:
        """The record of the run at this place; of an interrupted one it ends where that did."""
        number, over = self.numbers[place], self.stopped[place] or not self.going[place]
        epochs = self.training.epochs if over else int(self.epochs[place])
        return RunRecord(
            number,
            self.training.entrants[number],
            self.training.seeds[self.training.places[number]],
            np.arange(1, epochs + 1),
            {name: values[:epochs, place].copy() for name, values in self.columns.items()},
            None if self.diverged[place] < 0 else int(self.diverged[place]),
            int(self.stopped[place]) or None,
        )


def run_epochs(
    log: Log,
    runs: Runs,
    places: Any,
    program: Program,
    epochs: range,
    on_epoch: Callable[[int, dict[str, np.ndarray]], None],
    interrupted: Callable[[], Any] = lambda: False,
) -> Runs:
    """Runs after some more epochs, fewer where none of them goes on.

    Args:
        log: what takes in the epochs.
        runs: the runs; their buffers are taken over.
        places: for each, without those that only fill the program, its place in the log.
        program: their program.
        epochs: numbers of the epochs, 0 for the first.
        on_epoch: called after each epoch with the number of epochs there were, and the metrics.
        interrupted: asked after each epoch, whether to leave out the rest.
    """
    for epoch in epochs:
        runs, report = program(runs, log.training, epoch)
        report = jax.tree.map(lambda x: x[..., : len(places)], jax.device_get(report))
        metrics = log.add(epoch, places, report)
        on_epoch(epoch + 1, metrics)
        if not report.going.any() or interrupted():
            break
    return runs


def run_chunk(
    training: Training,
    chunk: Chunk,
    program: Program,
    on_epoch: Callable[[int, dict[str, np.ndarray]], None],
    choose: Callable[[list[RunRecord]], list[int]],
    interrupted: Callable[[], Any],
) -> Finished:
    """Runs a chunk to its end, or to an interruption.

    Args:
        training: what the runs have in common.
        chunk: the runs.
        program: their program.
        on_epoch: called after each epoch with its number and the metrics, arrays by name.
        choose: a function of the records that returns the numbers of runs whose states to keep.
        interrupted: asked after each epoch, whether to leave out the rest.
    """
    log, places = Log(training, chunk.numbers), np.arange(len(chunk.numbers))
    epochs = range(training.epochs)
    begun = training.begin(chunk)
    runs = run_epochs(log, begun, places, program, epochs, on_epoch, interrupted)
    records = [log.record(place) for place in range(len(places))]
    kept = choose(records)
    return Finished(
        records,
        {n: final_state(training, runs.states, chunk.numbers.index(n)) for n in kept},
        whole=bool(((log.epochs == training.epochs) | ~log.going).all()),
    )


def _metrics(report: Report, mean: Callable[..., Any]) -> dict[str, np.ndarray]:
    """The metrics of an epoch, NaN for runs that did not complete it."""
    with np.errstate(invalid="ignore", over="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # of a run without a step
        steps = {name: mean(x, axis=0, dtype=np.float64) for name, x in report.steps.items()}
    both = steps | {name: np.asarray(x, np.float64) for name, x in report.evaluation.items()}
    return {name: np.where(report.complete, x, np.nan) for name, x in both.items()}


def final_state(training: Training, states: TrainState, place: int) -> TrainState:
    """The final state of a run; with early stopping that restores, the best."""
    state = state_of(states, place)
    if training.plan.mesh is not None:
        state = jax.device_put(state, training.plan.mesh.devices.flat[0])
    stopping = state.stopping
    return best_of(state) if stopping and stopping.has_best(state.stopping_state) else state
