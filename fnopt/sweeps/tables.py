"""The tables of a sweep: its runs, and quantiles over those that share hyperparameters."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fnopt.core.checks import brief
from fnopt.core.quantile import quantile
from fnopt.sweeps.entrants import (
    OPTIMIZER,
    Runs,
    by_entrant,
    by_values,
    check_names,
    hyperparameters,
    value_of,
    varying,
)
from fnopt.sweeps.measure import Measure
from fnopt.sweeps.table import Table
from fnopt.sweeps.texts import ABSENT, number

TAKEN = ("run", "seed", "final", "best", "best_epoch", "diverged_at", "stopped_at")
"""Columns of the table of runs beside the hyperparameters."""


def table_of_runs(runs: Runs, measure: Measure) -> Table:
    """The runs of a sweep, the best first; see :meth:`fnopt.sweeps.Sweep.table`."""
    ordered = sorted(runs, key=measure.rank)
    names = [OPTIMIZER, *hyperparameters(runs)]
    rows = []
    for run in ordered:
        best = measure.best(run)
        values = [_setting(run, name) for name in names]
        reached = [measure.final(run), best.value, best.epoch]
        rows.append((run.number, *values, run.seed, *reached, run.diverged_at, run.stopped_at))
    renamed = [f"tx.{name}" if name in TAKEN else name for name in names]
    counts = {
        "diverged": sum(run.diverged for run in runs),
        "stopped early": sum(run.stopped_at is not None for run in runs),
    }
    ends = "".join(f", {count} {what}" for what, count in counts.items() if count)
    where = "best" if measure.at == "best" else "final"
    whose = "1 run by its" if len(runs) == 1 else f"{len(runs)} runs by their"
    return Table(
        f"{whose} {where} {measure.metric}, the best first{ends}",
        ("run", *renamed, *TAKEN[1:]),
        tuple(rows),
        settings=tuple(renamed),
        metrics=("final", "best"),
    )


def table_by(runs: Runs, names: Sequence[str], shares: Sequence[float], measure: Measure) -> Table:
    """Quantiles for each value of hyperparameters; see :meth:`fnopt.sweeps.Sweep.by`.

    Raises:
        ValueError: a name is unknown, or a share does not lie in [0, 1].
    """
    if not names:
        known = ", ".join(varying(runs)) or "none"
        raise ValueError(f"{measure.caller}: give names of hyperparameters; {known} vary here")
    check_names(measure.caller, names, runs)
    groups = list(by_values(runs, names).values())
    title = f"{measure.at} {measure.metric} by {' and '.join(names)}"
    return _quantiles(title, groups, names, shares, measure)


def table_of_entrants(runs: Runs, shares: Sequence[float], measure: Measure) -> Table:
    """Quantiles over the seeds of each entrant; see :meth:`fnopt.sweeps.Sweep.quantiles`."""
    groups = sorted(by_entrant(runs), key=measure.rank_of_all)
    seeds = len({run.seed for run in runs})
    over = f" over {seeds} seeds" if seeds > 1 else ""
    title = f"{measure.at} {measure.metric}{over}, the best median first"
    return _quantiles(title, groups, [OPTIMIZER, *hyperparameters(runs)], shares, measure)


def _quantiles(
    title: str,
    groups: Sequence[Runs],
    names: Sequence[str],
    shares: Sequence[float],
    measure: Measure,
) -> Table:
    titles = share_titles(measure.caller, shares)
    rows = []
    for group in groups:
        scores = [measure.score(run) for run in group]
        rows.append(
            (
                *(_setting(group[0], name) for name in names),
                len(group),
                *(quantile(scores, share) for share in titles.values()),
                min(scores, key=lambda score: measure.sign * score),
                sum(run.diverged for run in group),
            )
        )
    reserved = ("runs", *titles, "best", "diverged")
    renamed = [f"tx.{name}" if name in reserved else name for name in names]
    return Table(
        title,
        (*renamed, *reserved),
        tuple(rows),
        settings=tuple(renamed),
        metrics=(*titles, "best"),
    )


def share_titles(caller: str, shares: Sequence[float]) -> dict[str, float]:
    """The shares of quantiles by the names of their columns, each once.

    Args:
        caller: the function that was called, for errors.
        shares: the shares.

    Raises:
        ValueError: one does not lie in [0, 1].

    >>> share_titles("by", (0.25, 0.5, 0.975))
    {'q25': 0.25, 'median': 0.5, 'q97.5': 0.975}
    """
    for share in shares:
        if not 0 <= share <= 1:
            raise ValueError(
                f"{caller}: shares must lie in [0, 1], got {brief(share)}; the median is 0.5"
            )
    return {
        "median" if share == 0.5 else f"q{number(100 * share)}": share
        for share in dict.fromkeys(shares)
    }


def _setting(run: Any, name: str) -> Any:
    """A hyperparameter of a run; None if it has none, which prints as ``-``."""
    value = value_of(run, name)
    return None if value is ABSENT else value
