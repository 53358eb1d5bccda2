"""The result of a race: the paths of all optimizers."""

from __future__ import annotations

import dataclasses
import os
from typing import Any

import numpy as np

from fnopt.core.checks import did_you_mean
from fnopt.lab.problem import Problem

NEAR = 0.01
"""The share of a start's height above the minimum that counts as near it in the table."""


@dataclasses.dataclass(frozen=True, eq=False)
class Entrant:
    """What one optimizer did in a race, at each of its rates and from each start.

    Attributes:
        name: the label.
        optimizer: the optimizer at the rate of number ``best``.
        learning_rates: the rates, shape (rates,); None where it has none.
        paths: the points, shape (rates, starts, steps + 1, 2), the start first.
        values: the function at them, shape (rates, starts, steps + 1), without noise.
        best: the number of the rate that is drawn as the path: the one given, or the best of
            those tried.
    """

    name: str
    optimizer: Any
    learning_rates: np.ndarray | None
    paths: np.ndarray = dataclasses.field(repr=False)
    values: np.ndarray = dataclasses.field(repr=False)
    best: int = 0


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Race:
    """Paths of optimizers on one problem; it prints as a table of how each ended.

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
        means = ", means over the starts" if starts > 1 else ""
        plural = "s" if starts > 1 else ""
        head = f"{self.problem.name}: {points - 1} steps from {starts} start{plural}{means}"
        return "\n".join([head, *lines])

    def _titles(self) -> list[str]:
        near = [f"steps to {NEAR:.0%}"] if self.problem.minimum is not None else []
        away = ["distance"] if self.problem.minima else []
        return ["optimizer", "rate", "last value", *away, *near]

    def _row(self, entrant: Entrant) -> list[str]:
        """How an optimizer ended at its best rate: a mean over the starts, of steps the median."""
        rates, values = entrant.learning_rates, entrant.values[entrant.best]
        rate = "" if rates is None else f"{rates[entrant.best]:.3g}"
        with np.errstate(over="ignore", invalid="ignore"):
            row = [entrant.name, rate, f"{values[:, -1].mean():.3g}"]
            if self.problem.minima:
                ends = entrant.paths[entrant.best, :, -1]
                apart = ends[:, None] - np.asarray(self.problem.minima, ends.dtype)
                row.append(f"{np.linalg.norm(apart, axis=-1).min(axis=1).mean():.3g}")
            if self.problem.minimum is not None:
                heights = values - self.problem.minimum
                reached = heights <= NEAR * heights[:, :1]
                steps = np.where(reached.any(axis=1), reached.argmax(axis=1), np.inf)
                row.append(f"{np.median(steps):.0f}".replace("inf", "-"))
        return row

    def plot(
        self, path: str | os.PathLike | None = None, *, theme: str = "light", fan: bool = False
    ) -> Any:
        """A picture of it: the paths on the function's contours, and beside them the losses.

        Each optimizer is drawn at the best of its rates. Where there are several, a panel shows the
        loss after the last step at each of them. A path that leaves the domain is cut there; that
        of an optimizer that ended outside, higher than it began, is labelled as diverged.

        Args:
            path: path of a picture, such as ``"race.png"``; not saved if None.
            theme: ``"light"`` or ``"dark"``.
            fan: whether paths and losses at all rates are drawn as well, faintly, except those that
                leave the domain.

        Returns:
            The matplotlib figure, which a notebook shows.

        Raises:
            ValueError: there is no such theme.
            ImportError: matplotlib is not installed.
        """
        from fnopt.lab.race_pictures import plot

        return plot(self, path, theme, fan)

    def animate(
        self,
        path: str | os.PathLike,
        *,
        theme: str | None = None,
        seconds: float = 6.0,
        fps: float = 20.0,
    ) -> None:
        """Writes an animation of it, in the format that the suffix of the path names.

        Args:
            path: path of the file: .gif; .mp4, which needs ffmpeg; .html, a page that needs no
                network, with a slider for the step, and one for the rate where there are several;
                or .png, a picture of the end, as :meth:`plot` draws it.
            theme: ``"light"`` or ``"dark"``; by default light, and for a page what its reader has
                chosen for all pages.
            seconds: time from the first step to the last, in seconds.
            fps: frames per second of .gif and .mp4, in (0, 50].

        Raises:
            ValueError: the suffix, the theme or a number is none of those.
            RuntimeError: ffmpeg is needed and not installed.
            ImportError: matplotlib is not installed.
        """
        from fnopt.lab.race_pictures import animate

        animate(self, path, theme, seconds, fps)
