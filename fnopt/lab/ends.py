"""Ends of lines, and places for their labels at which these do not overlap."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy.optimize import isotonic_regression


class End(NamedTuple):
    """Where a line ends, and its label.

    Attributes:
        text: the label.
        x: its horizontal place, in units of the data; None for the edge of the axes.
        y: its vertical place, likewise.
        color: that of the line.
    """

    text: str
    x: float | None
    y: float
    color: str


def spread(
    wanted: Sequence[float], gap: float | Sequence[float], low: float, high: float
) -> np.ndarray:
    """The places nearest to the wanted ones that keep a distance from each other.

    They are the solution of least squares with these constraints: order, distance and range. Of
    equal ones the first is highest.

    Args:
        wanted: where they would best be.
        gap: the smallest distance between two of them, or the height of each, of which two are half
            the sum apart. It is smaller where the range has no room.
        low: the lowest place.
        high: the highest place.

    Returns:
        The places, in the order of ``wanted``.

    >>> spread([1.0, 1.0, 5.0], gap=1.0, low=0.0, high=10.0)
    array([1.5, 0.5, 5. ])
    """
    best = np.asarray(wanted, float)
    if len(best) < 2:
        return np.clip(best, low, high)
    order = np.lexsort((-np.arange(len(best)), best))
    heights = np.broadcast_to(np.asarray(gap, float), best.shape)[order]
    above = np.cumsum([0.0, *(heights[1:] + heights[:-1]) / 2])
    above *= min(1.0, (high - low) / above[-1])
    level = isotonic_regression(best[order] - above).x
    places = np.empty_like(best)
    places[order] = np.clip(level, low, high - above[-1]) + above
    return places
