"""What a run of a sweep is judged by, with diverged runs as the worst."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from fnopt.core.checks import did_you_mean, one_of
from fnopt.core.quantile import quantile
from fnopt.sweeps.records import RunRecord

MODES = ("min", "max")
PLACES = ("best", "final")


class Reached(NamedTuple):
    """A value of a metric, and the epoch of it.

    Attributes:
        value: the value; NaN where the metric was never finite.
        epoch: the epoch, 1 for the first; None likewise.
    """

    value: float
    epoch: int | None


@dataclasses.dataclass(frozen=True)
class Measure:
    """What a run is judged by: a metric, its better direction, and where it is read.

    Attributes:
        metric: name of the metric.
        mode: whether the smallest (``"min"``) or the largest value (``"max"``) is the best.
        at: ``"best"`` for the best value of a run, ``"final"`` for that after its last epoch.
        caller: the name of the method for which errors are raised.
    """

    metric: str
    mode: str
    at: str = "best"
    caller: str = "Sweep"

    def __post_init__(self) -> None:
        one_of(f"{self.caller}: mode", self.mode, MODES)
        one_of(f"{self.caller}: at", self.at, PLACES)

    @property
    def sign(self) -> int:
        """1 where a smaller value is better, -1 where a larger one is."""
        return 1 if self.mode == "min" else -1

    def curve(self, run: RunRecord) -> np.ndarray:
        """The values of the metric, one for each epoch that was evaluated.

        Raises:
            ValueError: the run has no such metric.
        """
        if self.metric not in run.curves:
            raise ValueError(
                f"{self.caller}: no metric {self.metric!r} was recorded;"
                f" {did_you_mean(self.metric, run.curves)}"
            )
        return np.asarray(run.curves[self.metric], float)

    def best(self, run: RunRecord) -> Reached:
        """The best finite value of a run, of equal ones the first."""
        values = self.curve(run)
        finite = np.flatnonzero(np.isfinite(values))
        if not finite.size:
            return Reached(math.nan, None)
        place = finite[np.argmin(self.sign * values[finite])]
        return Reached(float(values[place]), int(run.epochs[place]))

    def final(self, run: RunRecord) -> float:
        """The value after the last epoch of a run; NaN of one that diverged."""
        values, over = self.curve(run), run.stopped_at
        if over is not None:
            values = values[np.asarray(run.epochs) <= over]
        return math.nan if run.diverged or not values.size else float(values[-1])

    def score(self, run: RunRecord) -> float:
        """What a run is judged by; the worst there is, an infinity, where it diverged."""
        value = self.best(run).value if self.at == "best" else self.final(run)
        return value if math.isfinite(value) and not run.diverged else self.sign * math.inf

    def rank(self, run: RunRecord) -> tuple[float, int]:
        """A key by which the best run is the first, and of equal ones the earlier."""
        return self.sign * self.score(run), run.number

    def rank_of_all(self, runs: Sequence[RunRecord]) -> tuple[float, float, float, int]:
        """A key by which the entrant is the first that has the best median over its runs.

        Of equal ones it is the one that diverges less often, then the one with the best single run.
        """
        scores = [self.score(run) for run in runs]
        diverged = sum(map(math.isinf, scores)) / len(scores)
        best = min(self.sign * score for score in scores)
        return self.sign * quantile(scores, 0.5), diverged, best, runs[0].number
