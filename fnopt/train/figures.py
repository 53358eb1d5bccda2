"""The figures of steps, put together for a record or for the progress bar."""

from __future__ import annotations

from typing import Any

import numpy as np

LAST = ("learning_rate", "skipped", "loss_scale")
"""Figures of which an epoch's record has the last, not the mean."""


def summary(figures: dict[str, np.ndarray]) -> dict[str, float]:
    """Of each figure the mean over the steps that were taken, or the last."""
    last = {name: float(figures[name][-1]) for name in LAST if name in figures}
    if "skipped" in figures:  # the others' are infinite, or no numbers
        taken = np.isfinite(figures["update_norm"])
        figures = {name: x[taken] if taken.any() else x for name, x in figures.items()}
    return {name: float(np.mean(x, dtype=np.float64)) for name, x in figures.items()} | last


def joined(parts: list[dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """The figures of several calls one after the other; those that all of them have."""
    names = [name for name in (parts or [{}])[0] if all(name in part for part in parts)]
    return {name: np.concatenate([part[name] for part in parts]) for name in names}


def shown_of_steps(figures: dict[str, np.ndarray], tested: dict[str, float]) -> dict[str, float]:
    """The last of some steps' figures worth a place beside the bar, the most telling first."""
    last = {name: figures[name][-1] for name in ("loss", "learning_rate") if name in figures}
    # Of the evaluation all but its loss.
    measured = {name: x for name, x in tested.items() if name != "test_loss"}
    return {"loss": last["loss"], **measured, **last}


def shown_of(record: dict[str, Any]) -> dict[str, float]:
    """The figures of an epoch worth a place beside the bar, the most telling first."""
    tested = [name for name in record if name.startswith("test_")]
    names = ("loss", *tested, "learning_rate")
    return {name: record[name] for name in names if name in record}
