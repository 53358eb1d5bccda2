"""The records of a run: one dict per epoch, to be written as JSON lines or plotted."""

from __future__ import annotations

import dataclasses
import math
import os
from pathlib import Path
from typing import Any

import numpy as np

from fnopt.train.plain import line


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
    """

    records: list[dict[str, Any]] = dataclasses.field(default_factory=list)
    evaluations: list[dict[str, Any]] = dataclasses.field(default_factory=list)

    def __getitem__(self, name: str) -> np.ndarray:
        """A metric of every epoch, NaN where it was not recorded."""
        recorded = self.names()
        if name not in recorded:
            raise KeyError(f"{name!r} was not recorded; there are {', '.join(recorded)}")
        return np.array([record.get(name, math.nan) for record in self.records])

    def names(self) -> list[str]:
        """Names of the metrics that were recorded in some epoch."""
        return sorted({name for record in self.records for name in record})

    def __len__(self) -> int:
        return len(self.records)

    def write(self, path: str | os.PathLike) -> None:
        """Writes the records as JSON lines; a value that is not finite as null.

        Args:
            path: path of the file; folders are created.
        """
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        # An evaluation precedes the record of the epoch that it ends.
        both = sorted([*self.evaluations, *self.records], key=lambda record: record.get("step", 0))
        with path.open("w") as file:
            for record in both:
                file.write(line(record))

    def plot(self, path: str | Path | None = None, title: str = "") -> Any:
        """Plots loss, the evaluation's other metrics and learning rate over the epochs.

        Args:
            path: path of the picture; not saved if None.
            title: title above it.

        Returns:
            The matplotlib figure.

        Raises:
            ImportError: matplotlib is not installed.
        """
        try:
            from matplotlib.figure import Figure
        except ImportError as error:
            raise ImportError("pictures need matplotlib: pip install 'fnopt[lab]'") from error
        names = self.names()
        measured = [name.removeprefix("test_") for name in names if name.startswith("test_")]
        panels = ["loss", *(name for name in measured if name != "loss")]
        panels += ["learning_rate"] if "learning_rate" in names else []
        figure = Figure(figsize=(4.2 * len(panels), 3.4), layout="constrained")
        figure.suptitle(title)
        epochs = self["epoch"]
        row = figure.subplots(1, len(panels), squeeze=False)[0]
        for panel, axes in zip(panels, row, strict=True):
            for name, label in ((panel, "training"), (f"test_{panel}", "test")):
                if name in names:
                    axes.plot(epochs, self[name], ".-", markersize=4, label=label)
            axes.set(xlabel="epoch", title=panel.replace("_", " "))
            axes.grid(alpha=0.3)
            if panel == "loss" and np.nanmin(self["loss"]) > 0:
                axes.set_yscale("log")
            if panel != "learning_rate":
                axes.legend()
        if path is not None:
            Path(path).parent.mkdir(parents=True, exist_ok=True)
            figure.savefig(path, dpi=120)
        return figure


class Log:
    """A file of JSON lines that grows during a run; begins with the history so far.

    Args:
        path: path of the file; its content is replaced, so that it has no line twice.
        history: the records before.
    """

    def __init__(self, path: str | os.PathLike, history: History) -> None:
        self.path = Path(path)
        history.write(self.path)

    def write(self, record: dict[str, Any]) -> None:
        """Appends a record. The file is whole after each."""
        with self.path.open("a") as file:
            file.write(line(record))

    def close(self) -> None:
        """Nothing is left open."""
