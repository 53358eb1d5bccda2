"""The data of a race: the paths of all optimizers, and a table of how each ended."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from fnopt.core.checks import did_you_mean
from fnopt.core.quantile import quantile
from fnopt.lab.problem import Problem

NEAR = 0.01
"""An optimizer is near the minimum at this share of the start's height above it."""


@dataclasses.dataclass(frozen=True, eq=False)
class Entrant:
    """What one optimizer did in a race, at each of its rates and from each start.

    Attributes:
        name: the label.
        optimizer: the optimizer at the rate of number ``best``.
        learning_rates: the rates, shape (rates,); None where it has none.
        paths: the points, shape (rates, starts, steps + 1, 2), the start first.
        values: the function at them, shape (rates, starts, steps + 1), without noise.
        best: the index of the best rate, which is drawn as the path; 0 if there is only one.
    """

    name: str
    optimizer: Any
    learning_rates: np.ndarray | None
    paths: np.ndarray = dataclasses.field(repr=False)
    values: np.ndarray = dataclasses.field(repr=False)
    best: int = 0


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class RaceData:
    """The data from which pictures of a race are drawn; see :class:`fnopt.lab.Race`.

    Attributes:
        problem: the problem.
        entrants: what each optimizer did.
        programs: number of compiled programs that it ran, one for each structure.
    """

    problem: Problem
    entrants: tuple[Entrant, ...]
    programs: int

    def __getitem__(self, name: str) -> Entrant:
        """What the optimizer of this label did.

        Raises:
            KeyError: there is none of this label.
        """
        known = {entrant.name: entrant for entrant in self.entrants}
        if name not in known:
            raise KeyError(f"no entrant {name!r}; {did_you_mean(str(name), known)}")
        return known[name]

    @property
    def least(self) -> float | None:
        """The problem's minimum, or the smallest value at the best rates if that is smaller.

        None where the minimum is not known.
        """
        if self.problem.minimum is None:
            return None
        values = np.concatenate([each.values[each.best].ravel() for each in self.entrants])
        return float(values[np.isfinite(values)].min(initial=self.problem.minimum))

    def steps_to_near(self, name: str) -> np.ndarray:
        """The first step of an optimizer near the minimum, at its best rate, from each start.

        Near is at most 1% of the height of the start above the minimum.

        Args:
            name: the label of the optimizer.

        Returns:
            Shape (starts,); infinite where there is none, and NaN where the minimum is not known.

        Raises:
            KeyError: there is no optimizer of this label.
        """
        entrant = self[name]
        values = entrant.values[entrant.best]
        if self.least is None:
            return np.full(len(values), np.nan)
        with np.errstate(over="ignore", invalid="ignore"):
            heights = values - self.least
            reached = heights <= NEAR * heights[:, :1]
        return np.where(reached.any(axis=1), reached.argmax(axis=1), np.inf)

    def __repr__(self) -> str:
        starts, points = self.entrants[0].values.shape[1:]
        rows = [self._titles(), *map(self._row, self.entrants)]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        lines = [
            "  ".join(
                cell.rjust(width) if i else cell.ljust(width)
                for i, (cell, width) in enumerate(zip(row, widths, strict=True))
            )
            for row in rows
        ]
        medians = ", medians over the starts" if starts > 1 else ""
        plural = "s" if starts > 1 else ""
        head = f"{self.problem.name}: {points - 1} steps from {starts} start{plural}{medians}"
        return "\n".join([head, *lines])

    def _titles(self) -> list[str]:
        near = [f"steps to {NEAR:.0%}"] if self.problem.minimum is not None else []
        away = ["distance"] if self.problem.minima else []
        return ["optimizer", "rate", "last value", *away, *near]

    def _row(self, entrant: Entrant) -> list[str]:
        """How an optimizer ended at its best rate: medians over the starts."""
        rates, values = entrant.learning_rates, entrant.values[entrant.best]
        rate = "" if rates is None else f"{rates[entrant.best]:.3g}"
        with np.errstate(over="ignore", invalid="ignore"):
            last = _median(values[:, -1])
            if not np.isfinite(last) and len(entrant.values) > 1:
                rate = "-"  # it diverged at all of them
            row = [entrant.name, rate, f"{last:.3g}" if np.isfinite(last) else "diverged"]
            if self.problem.minima:
                ends = entrant.paths[entrant.best, :, -1]
                apart = ends[:, None] - np.asarray(self.problem.minima, ends.dtype)
                distance = _median(np.linalg.norm(apart, axis=-1).min(axis=1))
                row.append(f"{distance:.3g}" if np.isfinite(distance) else "-")
            if self.least is not None:
                steps = self.steps_to_near(entrant.name)
                row.append(f"{np.median(steps):.0f}".replace("inf", "-"))
        return row


def _median(values: np.ndarray) -> float:
    """The median, in which what is not finite counts as infinite."""
    return quantile(np.where(np.isfinite(values), values, np.inf).tolist(), 0.5)
