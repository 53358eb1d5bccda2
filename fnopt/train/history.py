"""The records of a run: one dict per epoch, to be written as JSON lines or plotted."""

from __future__ import annotations

import dataclasses
import math
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from fnopt.core.checks import nearest
from fnopt.train.plain import line
from fnopt.train.reprs import call, listed
from fnopt.train.step_history import StepHistory, UnknownMetricError


@dataclasses.dataclass
class History:
    """Records of a run, one for each epoch.

    Attributes:
        records: dicts of ``epoch``, ``step``, ``seconds``, the means over the epoch of what the
            steps report, the last ``learning_rate`` if the optimizer has one (and, with loss
            scaling, ``loss_scale`` and ``skipped``), and metrics of the evaluation with the prefix
            ``val_``, or that of another set's name.
        evaluations: with ``eval_every``, dicts of ``epoch``, ``step`` and the metrics of every
            evaluation; empty where there is one per epoch.
        steps: the metrics of every step, arrays by name, if ``fit(step_history=True)`` keeps them.
    """

    records: list[dict[str, Any]] = dataclasses.field(default_factory=list)
    evaluations: list[dict[str, Any]] = dataclasses.field(default_factory=list)
    steps: StepHistory = dataclasses.field(default_factory=StepHistory, repr=False, compare=False)

    def __getitem__(self, name: str) -> np.ndarray:
        """A metric of every epoch, NaN where it was not recorded."""
        recorded = self.names()
        if name not in recorded:
            near = nearest(f"{name}", recorded)
            known = f"{'There' if near else 'there'} are {', '.join(recorded)}"
            meant = f"did you mean {near!r}? " if near else ""
            raise UnknownMetricError(f"{name!r} was not recorded; {meant}{known}")
        return np.array([record.get(name, math.nan) for record in self.records])

    def __getattr__(self, name: str) -> Any:
        # Called for what is no attribute.
        if name.startswith("_") or "records" not in vars(self):
            raise AttributeError(name)
        raise AttributeError(
            f"a history has no attribute {name!r}; a metric is read by its name, history[name],"
            f" and recorded are {', '.join(self.names())}"
        )

    def __contains__(self, name: object) -> bool:
        """Whether a metric was recorded in some epoch."""
        return name in self.names()

    def __iter__(self) -> Iterator[str]:
        """The names of the metrics."""
        return iter(self.names())

    def names(self) -> list[str]:
        """Names of the metrics that were recorded in some epoch."""
        return sorted({name for record in self.records for name in record})

    def __len__(self) -> int:
        return len(self.records)

    def in_order(self) -> list[dict[str, Any]]:
        """Evaluations and records of epochs, in the order in which they were made."""
        # An evaluation precedes the record of the epoch that it ends.
        return sorted([*self.evaluations, *self.records], key=lambda record: record.get("step", 0))

    def write(self, path: str | os.PathLike) -> None:
        """Writes the records as JSON lines; a value that is not finite as null.

        Args:
            path: path of the file; folders are created.
        """
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("w") as file:
            for record in self.in_order():
                file.write(line(record))

    def plot(self, path: str | os.PathLike | None = None, title: str = "") -> Any:
        """Draws loss, the evaluations' other metrics and the learning rate, a panel for each.

        Over epochs; with ``eval_every`` over steps.

        Args:
            path: path of the picture; not saved if None.
            title: title above it.

        Returns:
            The matplotlib figure.

        Raises:
            ImportError: matplotlib is not installed.
            ValueError: nothing is recorded yet.
        """
        from fnopt.train.plots import plot_history

        return plot_history(self.records, self.evaluations, path, title)

    def __repr__(self) -> str:
        if not self.records:
            return "History(epochs=0)"
        last = {name: x for name, x in self.records[-1].items() if name != "epoch"}
        counts = {"epochs": len(self), "evaluations": len(self.evaluations)}
        return call(
            "History",
            listed({name: count for name, count in counts.items() if count}),
            f"last record: {listed(last)}",
        )
