"""The data of a sweep: its optimizers, its runs, its result."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np


@dataclasses.dataclass(frozen=True)
class Entrant:
    """One optimizer of a sweep.

    Attributes:
        label: its name, such as ``"adamw"``; entrants of one grid or draw share it.
        tx: the optimizer.
        hyperparameters: what the grid or the draw set in it, by name; empty for an optimizer that
            was given as it is.
    """

    label: str
    tx: Any
    hyperparameters: Mapping[str, Any]


@dataclasses.dataclass(frozen=True, eq=False)
class RunRecord:
    """One run of a sweep: an entrant and a seed.

    Attributes:
        number: its place in the sweep, 0 for the first.
        entrant: the optimizer.
        seed: seed of initialization, shuffling and dropout.
        epochs: the epochs that were evaluated, 1 for the first, shape (evaluations,).
        curves: a value for each of ``epochs`` by the name of the metric; NaN after the run's end.
        diverged_at: the step at which the loss or the gradient was not finite, 0 for the first;
            None if the run did not diverge.
        stopped_at: the epoch after which early stopping ended the run; None if it did not.
    """

    number: int
    entrant: Entrant
    seed: int
    epochs: np.ndarray
    curves: Mapping[str, np.ndarray]
    diverged_at: int | None = None
    stopped_at: int | None = None


@dataclasses.dataclass(frozen=True, eq=False)
class Sweep:
    """The result of a sweep.

    Attributes:
        runs: the runs, in the order of the sweep.
        monitor: name of the metric by which runs are judged.
        mode: whether its smallest (``"min"``) or its largest value (``"max"``) is the best.
        programs: number of compiled programs for the epochs.
        seconds: seconds that the sweep took.
        states: by the number of a run the final train states that were kept.
    """

    runs: tuple[RunRecord, ...]
    monitor: str
    mode: str
    programs: int
    seconds: float
    states: Any = None
