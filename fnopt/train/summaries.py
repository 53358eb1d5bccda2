"""Metrics of several steps, summarized for a record or for the progress bar."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

LAST = ("learning_rate", "skipped", "loss_scale")
"""Metrics of which an epoch's record has the last value, not the mean."""


def summary(metrics: dict[str, np.ndarray], taken: np.ndarray) -> dict[str, float]:
    """The mean of each metric over the steps that were taken, or its last value.

    Args:
        metrics: an array for each metric, one value per step.
        taken: whether each step was taken; all count if none was.
    """
    last = {name: float(metrics[name][-1]) for name in LAST if name in metrics}
    if not taken.all() and taken.any():  # the others' are infinite, or no numbers
        metrics = {name: x[taken] for name, x in metrics.items()}
    return {name: float(np.mean(x, dtype=np.float64)) for name, x in metrics.items()} | last


def joined(parts: list[dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """The metrics of several calls one after the other; those that all of them have."""
    names = [name for name in (parts or [{}])[0] if all(name in part for part in parts)]
    return {name: np.concatenate([part[name] for part in parts]) for name in names}


def shown_of_steps(metrics: dict[str, np.ndarray], tested: dict[str, float]) -> dict[str, float]:
    """The metrics to show next to the bar after some steps, the most important first.

    Args:
        metrics: metrics of the steps; the last values are shown.
        tested: metrics of the last evaluation; all but losses are shown.
    """
    last = {name: metrics[name][-1] for name in ("loss", "learning_rate") if name in metrics}
    measured = {name: x for name, x in tested.items() if not name.endswith("_loss")}
    return {"loss": last["loss"], **measured, **last}


def shown_of_epoch(record: dict[str, Any], evaluated: Iterable[str]) -> dict[str, float]:
    """The metrics of an epoch's record to show next to the bar, the most important first.

    Args:
        record: the record.
        evaluated: names of the metrics of the evaluations.
    """
    names = ("loss", *evaluated, "learning_rate")
    return {name: record[name] for name in names if name in record}
