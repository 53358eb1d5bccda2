"""Successive halving and Hyperband: trains runs stage by stage, the best of each going on."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from fnopt.core.checks import one_of
from fnopt.sweeps.brackets import Bracket

Advance = Callable[[np.ndarray, int], Any]
"""``advance(runs, epochs)`` trains the runs of these numbers until each has so many epochs in all,
and returns the metric of each, an array of shape (runs,)."""
MODES = ("min", "max")


class RungResult(NamedTuple):
    """What happened in a rung.

    Attributes:
        epochs: the number of epochs that each run has had at its end.
        runs: the numbers of the runs, shape (runs,).
        values: the metric of each, shape (runs,).
        promoted: the numbers of the runs that went on to the next rung, the best first; empty in
            the last.
    """

    epochs: int
    runs: np.ndarray
    values: np.ndarray
    promoted: np.ndarray


@dataclasses.dataclass(frozen=True, eq=False)
class BracketResult:
    """The result of successive halving.

    Attributes:
        rungs: the results of the rungs, in order.
        mode: ``"min"`` if a smaller metric is better, ``"max"`` if a larger one is.
    """

    rungs: tuple[RungResult, ...]
    mode: str = "min"

    @property
    def ranking(self) -> np.ndarray:
        """The numbers of all runs, the best first.

        A run that came further is before one that was left behind. Those of one rung are in the
        order of their metric there.
        """
        ranked: list[int] = []
        for rung in reversed(self.rungs):
            order = rung.runs[ranks(rung.values, self.mode)]
            ranked += [run for run in order.tolist() if run not in set(ranked)]
        return np.array(ranked)

    @property
    def best(self) -> int:
        """The number of the run that came furthest with the best metric."""
        return int(self.ranking[0])

    @property
    def epochs(self) -> int:
        """The number of epochs of all runs together."""
        before = (0, *(rung.epochs for rung in self.rungs))
        return sum(
            len(rung.runs) * (rung.epochs - earlier)
            for rung, earlier in zip(self.rungs, before, strict=False)
        )


def ranks(values: Any, mode: str = "min") -> np.ndarray:
    """The places of values, the best first; equal ones keep their order, and NaN comes last.

    Infinite values come last as well, before NaN: they are those of runs that diverged.

    Args:
        values: the metric of each run, shape (runs,).
        mode: ``"min"`` if a smaller metric is better, ``"max"`` if a larger one is.

    Returns:
        Indices, shape (runs,).

    >>> ranks([2.0, float("nan"), 1.0, 2.0]).tolist()
    [2, 0, 3, 1]
    """
    one_of("mode", mode, MODES)
    values = np.asarray(values, float)
    worth = -values if mode == "max" else values
    kinds = np.where(np.isfinite(values), 0, np.where(np.isnan(values), 2, 1))
    return np.lexsort((np.where(kinds == 0, worth, 0.0), kinds))


def promoted(values: Any, keep: int, mode: str = "min") -> np.ndarray:
    """The places of the runs that go on: the best, of equal ones the first.

    A run whose metric is not finite does not go on, so that there may be fewer than ``keep``.

    Args:
        values: the metric of each run, shape (runs,).
        keep: the number of runs that go on, at least 0.
        mode: ``"min"`` if a smaller metric is better, ``"max"`` if a larger one is.

    Returns:
        Indices, the best first.

    >>> promoted([0.3, 0.1, float("nan"), 0.2], 2).tolist()
    [1, 3]
    """
    values = np.asarray(values, float)
    return np.array([i for i in ranks(values, mode)[:keep] if np.isfinite(values[i])], int)


def run_bracket(
    advance: Advance,
    bracket: Bracket,
    *,
    runs: Sequence[int] | np.ndarray | None = None,
    mode: str = "min",
) -> BracketResult:
    """Successive halving: trains runs rung by rung, the best of each going on to the next.

    It ends before the last rung if no run is left whose metric is finite.

    Args:
        advance: trains runs; called once for each rung, with the numbers of the runs, ascending,
            and the number of epochs that each shall have had after it. It returns the metric of
            each.
        bracket: the rungs, of :func:`halving_bracket` or another function.
        runs: the numbers of the runs, as many as the first rung has; ``0, 1, …`` if None.
        mode: ``"min"`` if a smaller metric is better, ``"max"`` if a larger one is.

    Returns:
        The result.

    Raises:
        ValueError: there are more or fewer runs than the first rung has, or ``advance`` returned
            more or fewer values than it got runs.

    References:
        Jamieson & Talwalkar, *Non-stochastic best arm identification and hyperparameter
        optimization*, AISTATS 2016, arXiv:1502.07943, figure 3.

    >>> from fnopt.sweeps import halving_bracket
    >>> loss = np.array([3.0, 1.0, 2.0, 4.0])
    >>> result = run_bracket(lambda runs, epochs: loss[runs] / epochs, halving_bracket(4, 4, eta=2))
    >>> result.best, result.ranking.tolist(), result.epochs
    (1, [1, 2, 0, 3], 8)
    """
    alive = np.arange(bracket[0].runs) if runs is None else np.asarray(runs, int)
    if len(alive) != bracket[0].runs:
        raise ValueError(
            f"run_bracket: the first rung has {bracket[0].runs} runs, and runs has {len(alive)}"
            " numbers; give one for each"
        )
    results: list[RungResult] = []
    following = (*(rung.runs for rung in bracket[1:]), 0)
    for rung, keep in zip(bracket, following, strict=True):
        alive = np.sort(alive)
        values = np.asarray(advance(alive, rung.epochs), float)
        if values.shape != alive.shape:
            raise ValueError(
                f"run_bracket: advance returned values of shape {values.shape} for {len(alive)}"
                f" runs; it must return one for each, of shape {alive.shape}"
            )
        kept = alive[promoted(values, keep, mode)]
        results.append(RungResult(rung.epochs, alive, values, kept))
        if not len(kept):
            break
        alive = kept
    return BracketResult(tuple(results), mode)


def run_hyperband(
    advance: Advance, brackets: Sequence[Bracket], *, mode: str = "min"
) -> tuple[BracketResult, ...]:
    """Hyperband: one bracket after the other, each with new runs.

    Args:
        advance: trains runs, as for :func:`run_bracket`. The runs are numbered through: those of
            the first bracket from 0, those of the second from where the first ended.
        brackets: the brackets, of :func:`hyperband_brackets`.
        mode: ``"min"`` if a smaller metric is better, ``"max"`` if a larger one is.

    Returns:
        The results of the brackets; :func:`best_run` says which run is the best.

    References:
        Li, Jamieson, DeSalvo, Rostamizadeh & Talwalkar, *Hyperband*, JMLR 18, 2018,
        arXiv:1603.06560, algorithm 1.
    """
    results: list[BracketResult] = []
    begin = 0
    for bracket in brackets:
        end = begin + bracket[0].runs
        results.append(run_bracket(advance, bracket, runs=np.arange(begin, end), mode=mode))
        begin = end
    return tuple(results)


def best_run(results: Sequence[BracketResult]) -> int:
    """The number of the run with the best metric seen in any rung; of equal ones the longest.

    Args:
        results: what :func:`run_hyperband` returned.

    Raises:
        ValueError: no metric was finite.

    References:
        Li, Jamieson, DeSalvo, Rostamizadeh & Talwalkar, *Hyperband*, JMLR 18, 2018,
        arXiv:1603.06560, algorithm 1 ("the smallest intermediate loss seen so far").
    """
    rungs = sorted(
        (rung for result in results for rung in result.rungs), key=lambda rung: -rung.epochs
    )
    runs = np.concatenate([rung.runs for rung in rungs])
    values = np.concatenate([rung.values for rung in rungs])
    place = ranks(values, results[0].mode)[0]
    if not math.isfinite(values[place]):
        raise ValueError("best_run: no run has a finite metric; all of them diverged")
    return int(runs[place])
