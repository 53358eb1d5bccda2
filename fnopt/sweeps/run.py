"""A chunk of runs from their first epoch to their last."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from fnopt.sweeps.begin import state_of
from fnopt.sweeps.chunks import Program
from fnopt.sweeps.data import RunRecord
from fnopt.sweeps.program import Report
from fnopt.sweeps.training import Chunk, Training
from fnopt.train.state import TrainState
from fnopt.train.stopping import best_of


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
    # Under loss scaling the metrics of skipped steps are NaN.
    mean = np.mean if runs.states.scaling is None else np.nanmean
    columns: dict[str, np.ndarray] = {}
    stopped, diverged = np.zeros(size_of_chunk, int), np.full(size_of_chunk, -1)
    for epoch in range(training.epochs):
        runs, report = program(runs, training, epoch)
        report = jax.tree.map(lambda x: x[..., :size_of_chunk], jax.device_get(report))
        metrics = _metrics(report, mean)
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


def _metrics(report: Report, mean: Callable[..., Any]) -> dict[str, np.ndarray]:
    """The metrics of an epoch, NaN for runs that did not complete it."""
    with np.errstate(invalid="ignore", over="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # of a run without a step
        steps = {name: mean(x, axis=0, dtype=np.float64) for name, x in report.steps.items()}
    both = steps | {name: np.asarray(x, np.float64) for name, x in report.evaluation.items()}
    return {name: np.where(report.complete, x, np.nan) for name, x in both.items()}


def _final(training: Training, states: TrainState, place: int) -> TrainState:
    """The final state of a run; with early stopping that restores, the best."""
    state = state_of(states, place)
    if training.plan.mesh is not None:
        state = jax.device_put(state, training.plan.mesh.devices.flat[0])
    stopping = state.stopping
    return best_of(state) if stopping and stopping.has_best(state.stopping_state) else state
