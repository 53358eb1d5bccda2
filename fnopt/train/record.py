"""What a checkpoint says of a run beside its state: where it is, and what it has recorded."""

from __future__ import annotations

import dataclasses
from typing import Any

from fnopt.train.history import History


@dataclasses.dataclass
class Place:
    """Where a run is.

    Attributes:
        base: the number of the step at which it began.
        gone: steps gone through since.
        epoch: epochs completed.
        at: steps of the epoch under way.
        began: the number of the step at which that began.
        seconds: spent on it.
        steps: of an epoch; None where that is not known.
        over: whether all steps of the epoch were made, and it is not recorded yet.
        evaluated: whether the evaluation that is due here, if any, is done.
    """

    base: int
    gone: int = 0
    epoch: int = 0
    at: int = 0
    began: int = 0
    seconds: float = 0.0
    steps: int | None = None
    over: bool = False
    evaluated: bool = True


@dataclasses.dataclass
class Record:
    """A run beside its train state, as a checkpoint holds it.

    Attributes:
        place: where the run is.
        history: of the epochs completed, and the evaluations.
        tested: the figures of the last evaluation.
        epochs: that the run was to have; None in checkpoints of before this was recorded.
        data: number of examples and batch size of data in memory, by name; else None.
    """

    place: Place
    history: History
    tested: dict[str, float]
    epochs: int | None = None
    data: dict[str, int] | None = None

    @property
    def length(self) -> tuple[int | None, int | None]:
        """Epochs of the whole run and steps of each, None where that is not known."""
        return self.epochs, self.place.steps

    def to_json(self) -> dict[str, Any]:
        return {
            "place": dataclasses.asdict(self.place),
            "tested": self.tested,
            "history": self.history.records,
            "evaluations": self.history.evaluations,
            "epochs": self.epochs,
            "data": self.data,
        }

    @classmethod
    def from_json(cls, about: dict[str, Any]) -> Record:
        """The record in what :meth:`to_json` gave.

        Raises:
            ValueError, TypeError, KeyError: it is damaged.
        """
        place = Place(**about["place"])
        counts = {
            "base": place.base,
            "gone": place.gone,
            "epoch": place.epoch,
            "at": place.at,
            "began": place.began,
            "steps": 0 if place.steps is None else place.steps,
            "epochs": 0 if about.get("epochs") is None else about["epochs"],
            **(about.get("data") or {}),
        }
        for name, count in counts.items():
            if type(count) is not int or count < 0:
                raise ValueError(f"{name} is {count!r}, no count")
        if place.steps is not None and place.at > place.steps:
            raise ValueError(f"step {place.at} of an epoch of {place.steps}")
        for name in ("history", "evaluations"):
            if not all(isinstance(record, dict) for record in about[name]):
                raise ValueError(f"{name} is no list of records")
        tested = {name: float(x) for name, x in about["tested"].items()}
        history = History(list(about["history"]), list(about["evaluations"]))
        return cls(place, history, tested, about.get("epochs"), about.get("data"))
