"""The curves of a sweep: those of each entrant, one for each seed."""

from __future__ import annotations

import dataclasses

import numpy as np

from fnopt.sweeps.entrants import Runs, by_entrant, labels
from fnopt.sweeps.measure import Measure


def curves_of(
    runs: Runs, measure: Measure, metric: str | None = None
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Epochs and values of each entrant by its label; see :meth:`fnopt.sweeps.Sweep.curves`.

    Args:
        runs: the runs.
        measure: what the entrants are sorted by.
        metric: name of the metric; that of the measure if None.
    """
    shown = measure if metric is None else dataclasses.replace(measure, metric=metric)
    groups = sorted(by_entrant(runs), key=measure.rank_of_all)
    return {
        label: _stacked(group, shown) for label, group in zip(labels(groups), groups, strict=True)
    }


def _stacked(runs: Runs, measure: Measure) -> tuple[np.ndarray, np.ndarray]:
    """The epochs that any of the runs was evaluated at, and a row of values for each run."""
    epochs = np.unique(np.concatenate([np.asarray(run.epochs, int) for run in runs]))
    values = np.full((len(runs), len(epochs)), np.nan)
    for row, run in zip(values, runs, strict=True):
        row[np.searchsorted(epochs, run.epochs)] = measure.curve(run)
    return epochs, values
