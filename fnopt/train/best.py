"""The best evaluation of a run: its metric, its position and its checkpoint."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import Any

from fnopt.train.checkpoint import Checkpoints
from fnopt.train.history import History
from fnopt.train.plain import loads
from fnopt.train.watch import Mode


@dataclasses.dataclass(frozen=True)
class Best:
    """The best evaluation of a run, in the watched metric.

    Attributes:
        metric: name of the watched metric, as in the history.
        value: its smallest or largest value, whichever is the best; NaN is none. Of equal values it
            is the first.
        epoch: number of the epoch of that evaluation, 1 for the first.
        step: number of updates before it.
        checkpoint: folder of the checkpoint of that step, for :func:`~fnopt.train.restore`; None if
            none was written there, or if it has been removed.
    """

    metric: str
    value: float
    epoch: int
    step: int
    checkpoint: Path | None = None


def best_evaluation(
    history: History, metric: str, mode: Mode, checkpoint_dir: Path | None = None
) -> Best | None:
    """The best evaluation in a history; None if no evaluation gave the metric as a number.

    Args:
        history: the records of a run.
        metric: name of the metric, as in the records.
        mode: whether the smallest (``"min"``) or the largest value (``"max"``) is the best.
        checkpoint_dir: folder of the checkpoints of the run; None if there is none.
    """
    # Evaluations come first: the record of an epoch repeats the last of them.
    records = history.in_order()
    measured = [record for record in records if not math.isnan(record.get(metric, math.nan))]
    if not measured:
        return None
    sign = 1 if mode == "min" else -1
    best = min(measured, key=lambda record: sign * record[metric])  # the first of equals
    step = int(best["step"])
    path = None if checkpoint_dir is None else _checkpoint_of(checkpoint_dir, step)
    return Best(metric, float(best[metric]), int(best["epoch"]), step, path)


def _checkpoint_of(folder: Path, step: int) -> Path | None:
    """The checkpoint of the state after ``step`` updates; its name counts skipped steps too."""
    return next((path for path in Checkpoints(folder) if _updates(path) == step), None)


def _updates(path: Path) -> Any:
    """Number of updates of the state in a checkpoint; None if it is damaged."""
    try:
        return loads((path / "about.json").read_text())["step"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
