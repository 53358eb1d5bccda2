"""What a checkpoint holds of a run besides its train state: its position and its records."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection
from typing import Any

from fnopt.train.history import History

_POSITION = {
    "base": "first_step",
    "gone": "steps_done",
    "epoch": "epochs_done",
    "at": "epoch_step",
    "began": "epoch_start",
    "seconds": "seconds",
    "steps": "steps_per_epoch",
    "over": "epoch_over",
    "evaluated": "evaluated",
}
"""Fields of a position by their names in a file."""


@dataclasses.dataclass
class Position:
    """The position of a run.

    Attributes:
        first_step: number of the step at which the run began.
        steps_done: steps since then.
        epochs_done: completed epochs.
        epoch_step: steps done in the current epoch.
        epoch_start: number of the step at which the current epoch began.
        seconds: time spent on the current epoch.
        steps_per_epoch: None if not known.
        epoch_over: whether all steps of the epoch are done and it is not recorded yet.
        evaluated: whether no evaluation is due at this position (any more).
    """

    first_step: int
    steps_done: int = 0
    epochs_done: int = 0
    epoch_step: int = 0
    epoch_start: int = 0
    seconds: float = 0.0
    steps_per_epoch: int | None = None
    epoch_over: bool = False
    evaluated: bool = True

    @property
    def step(self) -> int:
        """Number of steps attempted since the first of all, those before this run included.

        ``state.step`` counts those that were taken.
        """
        return self.first_step + self.steps_done

    @property
    def epoch(self) -> int:
        """Number of the current epoch, 1 for the first of all."""
        before = self.first_step // self.steps_per_epoch if self.steps_per_epoch else 0
        return self.epochs_done + 1 + before

    def close_epoch(self) -> None:
        """Moves on to the next epoch."""
        self.epochs_done, self.epoch_step, self.seconds = self.epochs_done + 1, 0, 0.0
        self.epoch_over = False

    def to_json(self) -> dict[str, Any]:
        return {written: getattr(self, name) for written, name in _POSITION.items()}

    @classmethod
    def from_json(cls, fields: dict[str, Any]) -> Position:
        """The position from the output of :meth:`to_json`; fields with a default may be missing.

        Raises:
            ValueError, TypeError, KeyError: it is damaged.
        """
        position = cls(**{_POSITION[written]: x for written, x in fields.items()})
        steps = position.steps_per_epoch
        for written in ("base", "gone", "epoch", "at", "began"):
            check_count(written, getattr(position, _POSITION[written]))
        check_count("steps", 0 if steps is None else steps)
        if steps is not None and position.epoch_step > steps:
            raise ValueError(f"step {position.epoch_step} of an epoch of {steps}")
        return position


@dataclasses.dataclass
class LastEvaluation:
    """The last evaluation of a run.

    Attributes:
        metrics: its metrics by their names in the history; empty before the first.
        monitored: the watched one, and ``step`` the position's step at which it was measured; None
            before the first evaluation of this process.
    """

    metrics: dict[str, float] = dataclasses.field(default_factory=dict)
    monitored: float | None = None
    step: int | None = None

    def restrict(self, names: Collection[str]) -> None:
        """Drops the metrics of sets that are not evaluated any more."""
        self.metrics = {name: x for name, x in self.metrics.items() if name in names}


@dataclasses.dataclass
class Record:
    """What a checkpoint holds of a run besides its train state.

    Attributes:
        position: step and epoch of the run.
        history: records of the completed epochs, and of evaluations.
        evaluation: the last evaluation.
        epochs: epochs that the run was to have; None in checkpoints older than this field.
        data: number of examples and batch size of data in memory, by name; None for a stream.
        skipped: indices of the steps of the current epoch that were not taken; None in checkpoints
            older than this field.
    """

    position: Position
    history: History
    evaluation: LastEvaluation
    epochs: int | None = None
    data: dict[str, int] | None = None
    skipped: list[int] | None = None

    @property
    def length(self) -> tuple[int | None, int | None]:
        """Epochs of the whole run and steps of each, None where that is not known."""
        return self.epochs, self.position.steps_per_epoch

    def to_json(self) -> dict[str, Any]:
        return {
            "place": self.position.to_json(),
            "tested": self.evaluation.metrics,
            "history": self.history.records,
            "evaluations": self.history.evaluations,
            "epochs": self.epochs,
            "data": self.data,
            "skipped": self.skipped,
        }

    @classmethod
    def from_json(cls, about: dict[str, Any]) -> Record:
        """The record from the output of :meth:`to_json`.

        Raises:
            ValueError, TypeError, KeyError: it is damaged.
        """
        epochs, data, skipped = (about.get(name) for name in ("epochs", "data", "skipped"))
        check_count("epochs", 0 if epochs is None else epochs)
        for name, count in (data or {}).items():
            check_count(name, count)
        for index in skipped or ():
            check_count("skipped", index)
        for name in ("history", "evaluations"):
            if not all(isinstance(record, dict) for record in about[name]):
                raise ValueError(f"{name} is no list of records")
        return cls(
            position=Position.from_json(about["place"]),
            history=History(list(about["history"]), list(about["evaluations"])),
            evaluation=LastEvaluation({name: float(x) for name, x in about["tested"].items()}),
            epochs=epochs,
            data=data,
            skipped=skipped,
        )


def check_count(name: str, count: Any) -> None:
    """Raises ValueError where a number read from a file is no count."""
    if type(count) is not int or count < 0:
        raise ValueError(f"{name} is {count!r}, no count")
