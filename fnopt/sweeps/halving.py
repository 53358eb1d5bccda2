"""Successive halving and Hyperband: trains runs rung by rung, the best of each going on."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from fnopt.core.checks import one_of
from fnopt.sweeps.brackets import Bracket, Rung

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
        return final_ranking([self])

    @property
    def best_number(self) -> int:
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


class Interrupted(Exception):
    """What ``advance`` raises where runs came to an end before that number of epochs.

    Args:
        epochs: the number of epochs that each run has had, shape (runs,).
        curves: the metric of each after each epoch, shape (runs, epochs); read where there is one.
    """

    def __init__(self, epochs: np.ndarray, curves: np.ndarray) -> None:
        super().__init__()
        self.epochs, self.curves = epochs, curves


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


def run_brackets(
    advance: Advance, brackets: Sequence[Bracket], *, mode: str = "min"
) -> tuple[BracketResult, ...]:
    """Successive halvings side by side: in each the best runs of a rung go on to the next.

    The runs are numbered through: those of the first bracket from 0, those of the second from where
    the first ended. A bracket ends before its last rung if no run is left whose metric is finite.
    As no bracket asks what happens in another, they go at once, which is fewer and larger batches
    of runs than one bracket after the other.

    Args:
        advance: trains runs; called once for each number of epochs at which a rung ends, with the
            numbers of the runs of all brackets that are left, ascending, and that number of epochs,
            which each shall have had after it. It returns the metric of each, or raises
            :class:`Interrupted`, after which the results have a last rung for each number of epochs
            that some runs came to.
        brackets: the brackets, one of :func:`halving_bracket`, or those of
            :func:`hyperband_brackets`.
        mode: ``"min"`` if a smaller metric is better, ``"max"`` if a larger one is.

    Returns:
        The result of each bracket.

    Raises:
        ValueError: ``advance`` returned more or fewer values than it got runs.

    References:
        Jamieson & Talwalkar, *Non-stochastic best arm identification and hyperparameter
        optimization*, AISTATS 2016, arXiv:1502.07943, figure 3; Li, Jamieson, DeSalvo, Rostamizadeh
        & Talwalkar, *Hyperband*, JMLR 18, 2018, arXiv:1603.06560, algorithm 1.

    >>> from fnopt.sweeps import halving_bracket
    >>> loss = np.array([3.0, 1.0, 2.0, 4.0])
    >>> bracket = halving_bracket(4, 4, eta=2)
    >>> (result,) = run_brackets(lambda runs, epochs: loss[runs] / epochs, [bracket])
    >>> result.best_number, result.ranking.tolist(), result.epochs
    (1, [1, 2, 0, 3], 8)
    """
    ends = np.cumsum([bracket[0].runs for bracket in brackets])
    left = [np.arange(end - b[0].runs, end) for end, b in zip(ends, brackets, strict=True)]
    results: list[list[RungResult]] = [[] for _ in brackets]
    for _, epochs in levels_of(brackets):
        runs = np.sort(np.concatenate(left))
        if not runs.size:
            break
        try:
            values = np.asarray(advance(runs, epochs), float)
        except Interrupted as end:
            for own, of_bracket in zip(results, left, strict=True):
                own += _last_rungs(own, of_bracket, np.searchsorted(runs, of_bracket), end, mode)
            break
        if values.shape != runs.shape:
            raise ValueError(
                f"run_brackets: advance returned values of shape {values.shape} for {len(runs)}"
                f" runs; it must return one for each, of shape {runs.shape}"
            )
        for i, bracket in enumerate(brackets):
            here = [place for place, rung in enumerate(bracket) if rung.epochs == epochs]
            if not here or not left[i].size:
                continue
            following = bracket[here[0] + 1 :]
            own = values[np.searchsorted(runs, left[i])]
            kept = left[i][promoted(own, following[0].runs if following else 0, mode)]
            results[i].append(RungResult(epochs, left[i], own, kept))
            left[i] = np.sort(kept)
    return tuple(BracketResult(tuple(rungs), mode) for rungs in results)


def _last_rungs(
    before: Sequence[RungResult], runs: np.ndarray, places: np.ndarray, end: Interrupted, mode: str
) -> list[RungResult]:
    """The rungs of a bracket from its last whole one to where its runs came."""
    epochs, curves = end.epochs[places], end.curves[places]
    done = before[-1].epochs if before else 0
    rungs = []
    for level in np.unique(epochs[epochs > done]).tolist():
        here = epochs >= level
        own, values, further = runs[here], curves[here, level - 1], epochs[here] > level
        on = [place for place in ranks(values, mode) if further[place]]
        rungs.append(RungResult(level, own, values, own[on]))
    return rungs


def levels_of(brackets: Sequence[Bracket]) -> Bracket:
    """How many runs :func:`run_brackets` trains at once up to each number of epochs.

    Args:
        brackets: the brackets.

    >>> from fnopt.sweeps import hyperband_brackets
    >>> for rung in levels_of(hyperband_brackets(9)):  # 9, 5 and 3; then 3, 5 and 3; then 1, 1, 3
    ...     print(*rung)
    17 1
    11 3
    5 9
    """
    levels = []
    for epochs in sorted({rung.epochs for bracket in brackets for rung in bracket}):
        # A bracket is trained up to its next rung.
        nexts = (next((r.runs for r in b if r.epochs >= epochs), 0) for b in brackets)
        levels.append(Rung(sum(nexts), epochs))
    return tuple(levels)


def final_ranking(results: Sequence[BracketResult]) -> np.ndarray:
    """The numbers of the runs of all brackets, the best first.

    As :attr:`BracketResult.ranking`: a run that was trained longer is before one that was left
    behind, and those of the same number of epochs are in the order of their metric there.

    Args:
        results: what :func:`run_brackets` returned.
    """
    rungs = [rung for result in results for rung in result.rungs]
    ranked: dict[int, None] = {}
    for epochs in sorted({rung.epochs for rung in rungs}, reverse=True):
        runs = np.concatenate([rung.runs for rung in rungs if rung.epochs == epochs])
        values = np.concatenate([rung.values for rung in rungs if rung.epochs == epochs])
        ranked |= dict.fromkeys(runs[ranks(values, results[0].mode)].tolist())
    return np.array(list(ranked))
