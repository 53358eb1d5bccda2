"""The best run so far, and the final states that are kept."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from fnopt.sweeps.data import RunRecord
from fnopt.train.state import TrainState


class Keeper:
    """Judges runs by their best value of a metric; one that diverged is the worst.

    Args:
        monitor: name of the metric.
        mode: whether its smallest (``"min"``) or its largest value (``"max"``) is the best.
        keep: of which runs to keep the final state: ``"best"``, ``"all"`` or ``"none"``.

    Attributes:
        value: the best value that any run has had so far; NaN before there is one.
        states: the states that are kept, by the number of their run; None for ``"none"``.
    """

    def __init__(self, monitor: str, mode: str, keep: str) -> None:
        self.monitor, self.sign, self.keep = monitor, 1 if mode == "min" else -1, keep
        self.value = math.nan
        self.states: dict[int, TrainState] | None = None if keep == "none" else {}
        self._rank = (math.inf, math.inf)

    def see(self, metrics: Mapping[str, np.ndarray]) -> None:
        """Takes in the metrics of an epoch, arrays over runs."""
        values = metrics[self.monitor][np.isfinite(metrics[self.monitor])]
        if values.size:
            self.value = float(self.sign * np.nanmin([*self.sign * values, self.sign * self.value]))

    def choose(self, records: Sequence[RunRecord]) -> list[int]:
        """The numbers of those runs whose final states are to be kept."""
        if self.keep != "best":
            return [record.number for record in records] if self.keep == "all" else []
        best = min(records, key=self._rank_of)
        return [best.number] if self._rank_of(best) < self._rank else []

    def offer(self, records: Sequence[RunRecord], states: Mapping[int, TrainState]) -> None:
        """Takes in runs that are over, and the states of those that :meth:`choose` chose."""
        if self.states is None or not records:
            return
        if self.keep == "all":
            self.states.update(states)
        for record in records:
            if self.keep == "best" and record.number in states:
                rank = self._rank_of(record)
                if rank < self._rank:
                    self._rank, self.states = rank, {record.number: states[record.number]}

    def _rank_of(self, record: RunRecord) -> tuple[float, float]:
        values = record.curves[self.monitor]
        values = self.sign * values[np.isfinite(values)]
        lost = record.diverged_at is not None or not values.size
        return (math.inf if lost else float(values.min())), record.number
