"""Metrics of several steps, summarized for a record or to be shown."""

from __future__ import annotations

from typing import Any

import numpy as np

LAST = ("learning_rate", "skipped", "loss_scale")
"""Metrics of which an epoch's record has the last value, not the mean."""
NOT_SHOWN = (
    *("epoch", "step", "seconds"),  # the line says them in another form
    *("grad_norm", "update_norm", "skipped", "loss_scale"),
)
"""What a record has beside the loss, the objective's own metrics and the learning rate."""
NO_METRICS = (*NOT_SHOWN, "learning_rate")
"""What a record has beside the loss and the objective's own metrics."""


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


def shown_metrics(metrics: dict[str, Any]) -> dict[str, float]:
    """Those metrics of a step or of an epoch that its line shows.

    Args:
        metrics: metrics of a step, or the record of an epoch, without those of the evaluation.
    """
    return {name: float(x) for name, x in metrics.items() if name not in NOT_SHOWN}
