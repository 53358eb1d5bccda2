"""The metrics of every step of a run."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

NUMBERS = ("step", "epoch")
"""Arrays of integers; all others are of float32."""


class UnknownMetricError(KeyError):
    """No metric of a name was recorded."""

    def __str__(self) -> str:
        # A KeyError shows its text as a Python string, in quotes.
        return f"{self.args[0]}"


class StepHistory(Mapping[str, np.ndarray]):
    """An array for each metric, with a value for every step of a run.

    ``"step"`` has the number of each step, 1 for the first, and ``"epoch"`` that of its epoch, in
    int32; metrics are in float32, NaN at steps that did not report one. It is empty unless
    ``fit(step_history=True)`` keeps it.

    Args:
        arrays: arrays by name, such as those of an earlier part of the run.
    """

    def __init__(self, arrays: Mapping[str, np.ndarray] | None = None) -> None:
        self._parts = [dict(arrays)] if arrays else []

    def add(self, last_step: int, epoch: int, metrics: Mapping[str, np.ndarray]) -> None:
        """Appends the metrics of some steps; they are copied.

        Args:
            last_step: number of the last of these steps.
            epoch: number of the epoch.
            metrics: an array for each metric, one value per step.
        """
        steps = len(next(iter(metrics.values()), ()))
        self._parts.append(
            {
                "step": np.arange(last_step - steps + 1, last_step + 1, dtype=np.int32),
                "epoch": np.full(steps, epoch, np.int32),
                **{name: np.array(x, np.float32) for name, x in metrics.items()},
            }
        )

    def __getitem__(self, name: str) -> np.ndarray:
        if name not in self._joined:
            raise UnknownMetricError(
                f"{name!r} of every step was not recorded; there are {', '.join(self._joined)}"
                if self._parts
                else f"{name!r} of every step was not kept; it is with fit(step_history=True)"
            )
        return self._joined[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._joined)

    def __len__(self) -> int:
        return len(self._joined)

    @property
    def _joined(self) -> dict[str, np.ndarray]:
        """All arrays, each one whole. Joined where they are read, not in every epoch."""
        if len(self._parts) > 1:
            names = dict.fromkeys(name for part in self._parts for name in part)
            self._parts = [
                {name: np.concatenate([_of(part, name) for part in self._parts]) for name in names}
            ]
        return self._parts[0] if self._parts else {}

    def write(self, path: str | os.PathLike) -> None:
        """Writes the arrays: to an ``.npz`` as they are, otherwise as a table of CSV.

        Args:
            path: path of the file; folders are created.
        """
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix == ".npz":
            np.savez(path, **self._joined)  # pyright: ignore[reportArgumentType]
            return
        formats = ["%d" if name in NUMBERS else "%.9g" for name in self]
        columns = np.column_stack([np.float64(x) for x in self.values()] or [[]])
        np.savetxt(path, columns, formats, delimiter=",", header=",".join(self), comments="")

    def __repr__(self) -> str:
        if not self._parts:
            return "StepHistory(not kept)"
        return f"StepHistory({len(self['step'])} steps: {', '.join(self)})"


def _of(part: dict[str, np.ndarray], name: str) -> np.ndarray:
    return part[name] if name in part else np.full(len(part["step"]), np.nan, np.float32)
