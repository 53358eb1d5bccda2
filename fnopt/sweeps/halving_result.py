"""The result of successive halving and of Hyperband: a sweep, and who went on in each rung."""

from __future__ import annotations

import dataclasses
import math

from fnopt.sweeps.best import BestEntrant
from fnopt.sweeps.data import Sweep
from fnopt.sweeps.entrants import OPTIMIZER, Runs, hyperparameters, value_of
from fnopt.sweeps.halving import BracketResult, final_ranking
from fnopt.sweeps.measure import Measure
from fnopt.sweeps.table import Table
from fnopt.sweeps.texts import ABSENT
from fnopt.train.progress_line import duration, number
from fnopt.train.reprs import call


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class HalvingResult:
    """The result of :func:`successive_halving` and :func:`hyperband`.

    Entrants are numbered in the order of the optimizers, from 0. All seeds of an entrant go on
    together, or none.

    Attributes:
        sweep: the runs. The curves of one that was left behind are NaN after its last epoch, which
            is its ``stopped_at``. Of those of the last rung ``sweep.states`` has the final states,
            by the numbers of the runs. If it was interrupted, runs that had not begun are left out,
            and it has the states of all that were left in.
        brackets: for each bracket what happened in its rungs; the numbers in it are those of
            entrants, the values medians over the seeds. If it was interrupted, a last rung has the
            entrants that came so far.
    """

    sweep: Sweep
    brackets: tuple[BracketResult, ...]

    @property
    def interrupted(self) -> bool:
        """Whether Ctrl-C or SIGTERM ended it before its last rung was over."""
        return self.sweep.interrupted

    def best(self) -> BestEntrant:
        """Of the entrants that were trained longest, the one with the best metric in its last rung.

        It is judged by the metric after its last epoch, as in the rungs. ``sweep.best()`` judges by
        the best epoch of each run, and has those that were left behind among them, as
        ``sweep.best(at="final")`` has: they may return another.

        Returns:
            The entrant, with its median, its runs, ``tx`` and ``hyperparameters``. One whose
            metric is not finite there does not count.

        Raises:
            ValueError: every entrant diverged.
        """
        finite = {n: value for n, (_, value) in self._reached().items() if math.isfinite(value)}
        if not finite:
            raise ValueError(
                f"HalvingResult.best: none of the {len(self._entrants)} entrants has a finite"
                f" {self.sweep.monitor}: all diverged; give lower learning rates, or clip the"
                " gradients"
            )
        first = next(iter(finite))
        runs = self._entrants[first]
        measure = Measure(self.sweep.monitor, self.sweep.mode, "final", "HalvingResult.best")
        ordered = tuple(sorted(runs, key=measure.rank))
        return BestEntrant(runs[0].entrant, self.sweep.monitor, finite[first], ordered)

    @property
    def epochs(self) -> int:
        """The number of epochs of all runs together."""
        return len(self._seeds) * sum(bracket.epochs for bracket in self.brackets)

    def table(self) -> Table:
        """The entrants, those that were trained longest first, of these the best.

        Returns:
            A table with a row for each entrant. Its columns are ``entrant`` (the number),
            ``optimizer``, the hyperparameters, ``bracket`` where there are several (0 for the
            first), ``epochs`` (those after which it was left behind, or all) and the monitored
            metric there, the median over the seeds.
        """
        bracket_of = {
            entrant: place
            for place, bracket in enumerate(self.brackets)
            for rung in bracket.rungs[:1]
            for entrant in rung.runs.tolist()
        }
        several = len(self.brackets) > 1
        own = ("entrant", *("bracket",) * several, "epochs", self.sweep.monitor)
        names = [OPTIMIZER, *hyperparameters(self.sweep.runs)]
        rows = []
        for entrant, (epochs, value) in self._reached().items():
            run = self._entrants[entrant][0]
            settings = [value_of(run, name) for name in names]
            shown = [None if x is ABSENT else x for x in settings]
            rows.append((entrant, *shown, *(bracket_of[entrant],) * several, epochs, value))
        renamed = tuple(f"tx.{name}" if name in own else name for name in names)
        over = f", medians over {len(self._seeds)} seeds" if len(self._seeds) > 1 else ""
        return Table(
            f"{len(rows)} entrants by the epochs they came to, then by {self.sweep.monitor}{over}",
            ("entrant", *renamed, *own[1:]),
            tuple(rows),
            settings=renamed,
            metrics=(self.sweep.monitor,),
        )

    @property
    def _seeds(self) -> list[int]:
        return list(dict.fromkeys(run.seed for run in self.sweep.runs))

    @property
    def _entrants(self) -> dict[int, Runs]:
        """The runs of each entrant by its number; if interrupted, some are not all there."""
        seeds, entrants = len(self._seeds), {}
        for run in self.sweep.runs:
            entrants.setdefault(run.number // seeds, []).append(run)
        return entrants

    def _reached(self) -> dict[int, tuple[int, float]]:
        """For each entrant, the best first, the epochs that it came to and the metric there."""
        reached = {
            entrant: (rung.epochs, float(value))
            for bracket in self.brackets
            for rung in bracket.rungs
            for entrant, value in zip(rung.runs.tolist(), rung.values, strict=True)
        }
        return {entrant: reached[entrant] for entrant in final_ranking(self.brackets).tolist()}

    def __repr__(self) -> str:
        entrants, sweep = len(self._entrants), self.sweep
        longest = len(sweep.runs) * len(sweep.runs[0].epochs)
        parts = [
            f"{entrants} entrant{'s' * (entrants != 1)}",
            f"{len(self.brackets)} brackets" if len(self.brackets) > 1 else "",
            f"{self.epochs} epochs instead of {longest}",
            "interrupted" * self.interrupted,
            f"{sweep.programs} program{'s' * (sweep.programs != 1)}",
            duration(sweep.seconds),
        ]
        try:
            best = self.best()
            shown = f"best {sweep.monitor} {number(best.median)}: {best.entrant}"
        except ValueError:
            shown = f"no finite {sweep.monitor}"
        return call("HalvingResult", ", ".join(filter(None, parts)), shown)
