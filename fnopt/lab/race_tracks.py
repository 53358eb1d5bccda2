"""What is drawn of each optimizer of a race, by matplotlib or on a page."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from fnopt.lab.problem import Problem
from fnopt.lab.race_data import RaceData
from fnopt.lab.style import line_styles

DECADES = 9
"""Losses are drawn down to this many powers of ten below that of the start."""

OUTSIDE = " (outside)"
"""Note on an optimizer that is never in the domain."""


class Track(NamedTuple):
    """What is drawn of one optimizer.

    Attributes:
        name: its label.
        note: what is added to the label if it diverged, or if the map shows nothing of it.
        style: colour and dashes.
        rank: the order in which lines are drawn, from 0 for the longest path, which lies lowest.
        rates: the rates, shape (rates,); None where it has none.
        best: the number of the rate that is drawn in full.
        paths: shape (rates, starts, steps + 1, 2).
        losses: above the race's ``least`` where that is known, shape (rates, starts, steps + 1).
            NaN is replaced by infinity.
    """

    name: str
    note: str
    style: dict[str, Any]
    rank: float
    rates: np.ndarray | None
    best: int
    paths: np.ndarray
    losses: np.ndarray


def tracks(race: RaceData) -> list[Track]:
    """What is drawn of each optimizer, in the order of the race."""
    entrants = race.entrants
    lengths = [_length(entrant.paths[entrant.best]) for entrant in entrants]
    ranks = np.argsort(np.argsort(lengths)[::-1]) / len(entrants)
    drawn = []
    for entrant, style, rank in zip(entrants, line_styles(len(entrants)), ranks, strict=True):
        paths = np.asarray(entrant.paths, float)
        losses = np.asarray(entrant.values, float) - (race.least or 0.0)
        losses = np.where(np.isnan(losses), np.inf, losses)
        note = _note(diverged(race.problem, paths[entrant.best], losses[entrant.best]))
        note = note or OUTSIDE * bool(outside(race.problem, paths[entrant.best]))
        data = entrant.learning_rates, entrant.best, paths, losses
        drawn.append(Track(entrant.name, note, style, float(rank), *data))
    return drawn


def diverged(problem: Problem, paths: np.ndarray, losses: np.ndarray) -> np.ndarray:
    """Which paths ended outside the domain and higher than they began, or not finite.

    Args:
        problem: the problem.
        paths: shape (..., steps + 1, 2).
        losses: shape (..., steps + 1).
    """
    first, last = losses[..., 0], losses[..., -1]
    away = ~inside(problem, paths[..., -1, :]) & ~(last <= first)
    return away | (last == np.inf)


def outside(problem: Problem, paths: np.ndarray) -> np.ndarray:
    """Whether no point of paths, shape (..., starts, steps + 1, 2), lies in the domain."""
    return np.all(~inside(problem, paths), axis=(-2, -1))


def inside(problem: Problem, points: np.ndarray) -> np.ndarray:
    """Which points, of shape (..., 2), lie in the domain."""
    low, high = np.transpose(problem.domain)
    return np.all((points >= low) & (points <= high), axis=-1)


def title_of_losses(race: RaceData) -> str:
    """The title of the axes of losses."""
    starts = race.entrants[0].values.shape[1]
    title = "loss" if race.least is None else "loss above the minimum"
    if race.least != race.problem.minimum:
        title = "loss above the smallest one"
    return f"{title}, median of {starts} starts" if starts > 1 else title


def loss_range(problem: Problem, drawn: list[Track]) -> tuple[tuple[float, float], bool]:
    """The range of losses that is drawn, and whether its scale is logarithmic.

    It is logarithmic where the minimum is known and some start lies above it. The range goes down
    to the smallest loss at the best rates, by nine powers of ten at most, and up to ten times the
    largest loss of a start.
    """
    losses = np.concatenate([track.losses[track.best].ravel() for track in drawn])
    losses = losses[np.isfinite(losses)]
    if not losses.size:
        return (0.0, 1.0), False
    first = np.concatenate([track.losses[0, :, 0] for track in drawn])
    top = first[np.isfinite(first)].max(initial=losses.min())
    if problem.minimum is None or not top > 0:
        low, high = losses.min(), max(top, np.quantile(losses, 0.9))
        margin = 0.05 * (high - low) or 1.0
        return (low - margin, high + margin), False
    smallest = max(losses[losses > 0].min(initial=top), top * 10.0**-DECADES)
    return (smallest / 2, min(losses.max(), 10 * top) * 2), True


def _length(paths: np.ndarray) -> float:
    with np.errstate(invalid="ignore", over="ignore"):
        return float(np.nan_to_num(np.abs(np.diff(paths, axis=-2)).sum(), nan=np.inf))


def _note(which: np.ndarray) -> str:
    if not which.any():
        return ""
    return " (diverged)" if which.all() else f" ({which.sum()} of {len(which)} diverged)"
