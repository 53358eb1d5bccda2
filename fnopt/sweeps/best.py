"""The best of a sweep: an entrant by its median over seeds, and a single run."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

from fnopt.core.quantile import quantile
from fnopt.sweeps.entrants import Runs, by_entrant
from fnopt.sweeps.measure import Measure
from fnopt.sweeps.records import Entrant, RunRecord
from fnopt.train.progress_line import number


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class BestEntrant:
    """The entrant of a sweep whose median over the seeds is the best.

    Attributes:
        entrant: the entrant.
        metric: name of the metric.
        median: median over its runs.
        runs: its runs, the best first.
    """

    entrant: Entrant
    metric: str
    median: float
    runs: tuple[RunRecord, ...]

    @property
    def tx(self) -> Any:
        """The optimizer."""
        return self.entrant.tx

    @property
    def hyperparameters(self) -> dict[str, Any]:
        """What was set in it, by name."""
        return dict(self.entrant.hyperparameters)

    def __repr__(self) -> str:
        median = "diverged" if math.isinf(self.median) else number(self.median)
        over = f", median over {len(self.runs)} seeds" if len(self.runs) > 1 else ""
        return f"{self.entrant}: {self.metric} {median}{over}"


def best_entrant(runs: Runs, measure: Measure) -> BestEntrant:
    """The best entrant by its median; see :meth:`fnopt.sweeps.Sweep.best`.

    Raises:
        ValueError: every run diverged.
    """
    check_any_finite(runs, measure)
    group = min(by_entrant(runs), key=measure.rank_of_all)
    median = quantile(map(measure.score, group), 0.5)
    ordered = tuple(sorted(group, key=measure.rank))
    return BestEntrant(group[0].entrant, measure.metric, median, ordered)


def best_run(runs: Runs, measure: Measure) -> RunRecord:
    """The best single run; see :meth:`fnopt.sweeps.Sweep.best_run`.

    Raises:
        ValueError: every run diverged.
    """
    check_any_finite(runs, measure)
    return min(runs, key=measure.rank)


def check_any_finite(runs: Runs, measure: Measure) -> None:
    """Refuses runs of which none has a finite value of the metric.

    Raises:
        ValueError: there is no run, or every one diverged.
    """
    if not runs:
        raise ValueError(f"{measure.caller}: the sweep has no runs")
    if not any(math.isfinite(measure.score(run)) for run in runs):
        last = max((run.diverged_at or 0 for run in runs), default=0)
        by = f" by step {last}" if last else ""
        raise ValueError(
            f"{measure.caller}: none of the {len(runs)} runs has a finite {measure.metric}: all"
            f" diverged{by}; sweep lower learning rates, or clip the gradients"
        )
