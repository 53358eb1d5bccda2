"""The result of population based training: a sweep, and which run copied which."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np

from fnopt.core.checks import brief, did_you_mean
from fnopt.sweeps.data import Sweep
from fnopt.sweeps.leaves import dotted
from fnopt.sweeps.measure import Measure
from fnopt.sweeps.records import RunRecord
from fnopt.train.progress_line import duration, number
from fnopt.train.reprs import call
from fnopt.train.state import TrainState


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class PopulationResult:
    """The result of :func:`population_based_training`.

    Attributes:
        sweep: the runs, each with the hyperparameters that it began with. A curve is that of a
            place in the population, whatever state was there. ``sweep.states`` has the final state
            of the best run. If it was interrupted, all runs end after the same epoch, their
            ``stopped_at``.
        exploits: the epochs after which runs were copied, shape (exploits,).
        sources: for each of these and each run the number of the run that it was copied from, its
            own if it went on as it was; shape (exploits, runs).
        hyperparameters: by name, such as ``"learning_rate.init_value"``, the number with which
            each run was trained in each epoch, shape
            (epochs, runs), with further axes for an array; NaN after an end before the last epoch,
            where all runs diverged or it was interrupted.
    """

    sweep: Sweep
    exploits: np.ndarray
    sources: np.ndarray
    hyperparameters: Mapping[str, np.ndarray]

    @property
    def interrupted(self) -> bool:
        """Whether Ctrl-C or SIGTERM ended it before its last epoch was over."""
        return self.sweep.interrupted

    def best_run(self) -> RunRecord:
        """The run with the best metric after the last epoch, the one whose state is there.

        Of a training that was interrupted it is the last epoch that there was.
        ``sweep.best_run()`` judges by the best epoch, whose state may have been replaced since.

        Raises:
            ValueError: every run diverged.
        """
        return self.sweep.best_run(at="final")

    @property
    def state(self) -> TrainState:
        """The final state of the best run.

        Raises:
            ValueError: every run diverged.
        """
        return self.sweep.states[self.best_run().number]

    def lineage(self, run: int | None = None) -> np.ndarray:
        """For each epoch the number of the run in which the final state of a run was trained.

        Args:
            run: number of the run; the best if None.

        Returns:
            Integers, shape (epochs,); the last is ``run``.

        Raises:
            ValueError: there is no such run.
        """
        run = self.best_run().number if run is None else self._checked(run)
        line = np.full(len(self.sweep.runs[0].epochs), run)
        for epoch, sources in zip(self.exploits[::-1], self.sources[::-1], strict=True):
            run = sources[run]
            line[:epoch] = run
        return line

    def schedule(self, name: str, run: int | None = None) -> np.ndarray:
        """The hyperparameter with which the final state of a run was trained, epoch by epoch.

        Args:
            name: name of the hyperparameter, a key of ``hyperparameters``; slashes are read as
                dots.
            run: number of the run; the best if None.

        Returns:
            The numbers, shape (epochs,), with further axes for an array.

        Raises:
            ValueError: there is no such hyperparameter, or no such run.
        """
        values = self.hyperparameters.get(dotted(f"{name}"))
        if values is None:
            raise ValueError(
                f"PopulationResult.schedule: {name!r} was not varied;"
                f" {did_you_mean(str(name), self.hyperparameters)}"
            )
        return values[np.arange(len(values)), self.lineage(run)]

    def curve(self, metric: str | None = None, run: int | None = None) -> np.ndarray:
        """The metric of the states from which the final state of a run came, epoch by epoch.

        Args:
            metric: name of a metric; the monitored one if None.
            run: number of the run; the best if None.

        Returns:
            Its values, shape (epochs,).

        Raises:
            ValueError: there is no such metric, or no such run.
        """
        name = self.sweep.monitor if metric is None else metric
        measure = Measure(name, self.sweep.mode, "final", "PopulationResult.curve")
        curves = np.stack([measure.curve(record) for record in self.sweep.runs])
        line = self.lineage(run)
        return curves[line, np.arange(len(line))]

    def _checked(self, run: int) -> int:
        if isinstance(run, bool) or run not in range(len(self.sweep.runs)):
            raise ValueError(
                f"PopulationResult: run must be a number of a run, from 0 to"
                f" {len(self.sweep.runs) - 1}, got {brief(run, 20)}"
            )
        return int(run)

    def __repr__(self) -> str:
        sweep = self.sweep
        copies = int(np.sum(self.sources != np.arange(len(sweep.runs))))
        ended = "interrupted, " * self.interrupted
        head = f"{len(sweep.runs)} runs, {copies} copies, {ended}{duration(sweep.seconds)}"
        try:
            best = self.best_run()
            value = Measure(sweep.monitor, sweep.mode, "final").final(best)
            shown = f"best {sweep.monitor} {number(value)}: run {best.number}"
        except ValueError:
            shown = f"no finite {sweep.monitor}"
        return call("PopulationResult", head, shown)
