"""The records of a sweep: its optimizers with the hyperparameters set in them, and its runs."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

from fnopt.sweeps.texts import call


@dataclasses.dataclass(frozen=True, repr=False)
class Entrant:
    """One optimizer of a sweep.

    Attributes:
        label: its name, such as ``"adamw"``; entrants of one grid or draw share it.
        tx: the optimizer. In a sweep that was read from a file it is text.
        hyperparameters: what the grid or the draw set in it, by name; empty for an optimizer that
            was given as it is.

    >>> Entrant("adamw", None, {"learning_rate": 0.001, "nesterov": True})
    adamw(learning_rate=0.001, nesterov=True)
    """

    label: str
    tx: Any
    hyperparameters: Mapping[str, Any]

    def __repr__(self) -> str:
        return call(self.label, self.hyperparameters)


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class RunRecord:
    """One run of a sweep: an entrant and a seed.

    Attributes:
        number: its place in the sweep, 0 for the first.
        entrant: the optimizer.
        seed: seed of initialization, shuffling and dropout.
        epochs: the epochs that were evaluated, 1 for the first, shape (evaluations,).
        curves: a value for each of ``epochs`` by the name of the metric, such as ``"loss"``,
            ``"val_loss"`` or ``"val_accuracy"``; NaN after the end of the run.
        diverged_at: the step at which the loss or the gradient was not finite; None if the run did
            not diverge.
        stopped_at: the epoch after which early stopping ended the run, or after which successive
            halving left it behind; None if it went to the end, or diverged.
    """

    number: int
    entrant: Entrant
    seed: int
    epochs: np.ndarray
    curves: Mapping[str, np.ndarray]
    diverged_at: int | None = None
    stopped_at: int | None = None

    @property
    def diverged(self) -> bool:
        """Whether the run diverged."""
        return self.diverged_at is not None

    def __repr__(self) -> str:
        ends = {"diverged_at": self.diverged_at, "stopped_at": self.stopped_at}
        shown = "".join(f", {name}={at}" for name, at in ends.items() if at is not None)
        return f"RunRecord({self.number}, {self.entrant}, seed={self.seed}{shown})"
