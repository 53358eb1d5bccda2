"""Lines for every so many steps: printed, and written as JSON."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np

from fnopt.core.checks import positive_integer
from fnopt.train.plain import line
from fnopt.train.progress_line import GAP, number
from fnopt.train.summaries import joined, summary

SHOWN = {"loss": "loss", "accuracy": "accuracy", "grad_norm": "grad_norm", "learning_rate": "rate"}
"""The metrics that are printed where a step reports them, and their names there."""


class StepLog:
    """Prints the means over every N steps, and writes them to a file; a callback of each call.

    Args:
        every: number of steps N, at least 1.
        path: path of the file; its lines of earlier steps stay when a run continues.
        resumed: whether the run may continue an earlier one.
    """

    def __init__(self, every: int, path: Path, resumed: bool) -> None:
        self.every = positive_integer("--log-every", every)
        self.path, self.resumed = path, resumed
        self._begun = False
        self._metrics: list[dict[str, np.ndarray]] = []

    def __call__(self, step: int, metrics: dict[str, np.ndarray]) -> None:
        """Takes in the metrics of some steps, of which ``step`` is the last."""
        at = step - len(metrics["loss"])
        if not self._begun:
            self._begin(at)
        while at < step:
            until = min(step, at + self.every - at % self.every)
            first = step - len(metrics["loss"])
            part = {name: x[at - first : until - first] for name, x in metrics.items()}
            self._metrics.append(part)
            at = until
            if at % self.every == 0:
                self._write(at)

    def _begin(self, step: int) -> None:
        """Begins the file, with an earlier run's lines of the steps before this one."""
        self._begun = True
        lines: list[str] = []
        if self.resumed and self.path.exists():
            lines = self.path.read_text().splitlines(keepends=True)
            lines = [text for text in lines if _step_of(text) <= step]
        self.path.write_text("".join(lines))

    def _write(self, step: int) -> None:
        metrics = joined(self._metrics)
        self._metrics = []
        taken = np.isfinite(metrics["loss"])
        means: dict[str, Any] = {"step": step, **summary(metrics, taken)}
        shown = [f"{SHOWN[name]} {number(means[name])}" for name in SHOWN if name in means]
        print(GAP.join([f"step {step}", *shown]), flush=True)
        with self.path.open("a") as file:
            file.write(line(means))


def _step_of(text: str) -> float:
    """The step of a line; of one that was cut off, as by a full disk, infinity."""
    try:
        return json.loads(text)["step"]
    except ValueError:
        return math.inf
