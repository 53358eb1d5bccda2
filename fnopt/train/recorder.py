"""The records of a run: metrics of steps, of evaluations and of epochs."""

from __future__ import annotations

from typing import Any

import numpy as np

from fnopt.train.history import History
from fnopt.train.logs import Writer
from fnopt.train.progress import Progress
from fnopt.train.record import LastEvaluation, Position
from fnopt.train.summaries import joined, shown_metrics, summary


class Recorder:
    """Collects the metrics of a run, and passes records to its history, its logs and its bar.

    Args:
        history: records of the epochs before; new ones are appended.
        evaluation: the last evaluation; updated with each one.
        writers: logs that get each record.
        bar: shows the progress of the run.
        metrics: an array for each metric, one value per step of the current epoch so far; None
            for none.
        taken: whether each of these steps was taken.
        keep_steps: whether the history keeps the metrics of every step.

    Attributes:
        skipped_in_a_row: number of steps skipped since the last one that was taken.
    """

    def __init__(
        self,
        history: History,
        evaluation: LastEvaluation,
        writers: list[Writer],
        bar: Progress,
        metrics: dict[str, np.ndarray] | None = None,
        taken: np.ndarray | None = None,
        keep_steps: bool = False,
    ) -> None:
        self.history, self.evaluation = history, evaluation
        self.writers, self.bar = writers, bar
        self.keep_steps = keep_steps
        self.skipped_in_a_row = 0
        self._metrics = [metrics] if metrics else []
        self._taken = [] if taken is None else [taken]

    @property
    def metrics(self) -> dict[str, np.ndarray]:
        """The metrics of each step of the current epoch so far."""
        return joined(self._metrics)

    @property
    def taken(self) -> np.ndarray:
        """Whether each step of the current epoch so far was taken."""
        return np.concatenate([np.zeros(0, np.bool_), *self._taken])

    def add_steps(
        self, position: Position, metrics: dict[str, np.ndarray], taken: np.ndarray, speed: float
    ) -> None:
        """Takes in the metrics of some steps and shows the last of them."""
        self._metrics.append(metrics)
        self._taken.append(taken)
        if self.keep_steps:
            self.history.steps.add(position.step, position.epoch, metrics)
        last = np.flatnonzero(taken)
        self.skipped_in_a_row = (
            len(taken) - 1 - int(last[-1]) if last.size else self.skipped_in_a_row + len(taken)
        )
        shown = shown_metrics({name: x[-1] for name, x in metrics.items()})
        self.bar.show_steps(position, speed, shown, self.evaluation.metrics)

    def add_evaluation(
        self, position: Position, metrics: dict[str, float], monitored: float
    ) -> None:
        """Takes in an evaluation."""
        self.evaluation.metrics, self.evaluation.monitored = metrics, monitored
        self.evaluation.step = position.step

    def evaluation_record(self, position: Position, step: int) -> dict[str, Any]:
        """Records the last evaluation separately, between epochs.

        Args:
            position: step and epoch of the run.
            step: number of updates so far.
        """
        record = {"epoch": position.epoch, "step": step, **self.evaluation.metrics}
        self.history.evaluations.append(record)
        return record

    def epoch_record(self, position: Position, step: int) -> dict[str, Any]:
        """Records the current epoch, and begins to collect for the next.

        Args:
            position: step and epoch of the run.
            step: number of updates so far.
        """
        record = {
            "epoch": position.epoch,
            "step": step,
            "seconds": position.seconds,
            **summary(self.metrics, self.taken),
            **self.evaluation.metrics,
        }
        self.history.records.append(record)
        self._metrics, self._taken = [], []
        return record

    def write(self, records: list[dict[str, Any]], position: Position) -> None:
        """Writes records to the logs, and shows that of an epoch."""
        for record in records:
            for writer in self.writers:
                writer.write(record)
        if records and "loss" in records[-1]:
            evaluation = self.evaluation.metrics
            training = {name: x for name, x in records[-1].items() if name not in evaluation}
            self.bar.show_epoch(position, training["seconds"], shown_metrics(training), evaluation)
