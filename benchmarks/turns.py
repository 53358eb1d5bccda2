"""Contenders that take turns: in which order, and what their times say."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from typing import Any

Interval = tuple[float, float, float]
"""A median, and the order statistics that enclose it."""


def orders(names: Sequence[str]) -> list[list[str]]:
    """Orders in which each has every position and every predecessor equally often (Williams)."""
    n = len(names)
    first = [0]
    for i in range(1, n):
        first.append((first[-1] + (i if i % 2 else n - i)) % n)
    rows = [[names[(position + shift) % n] for position in first] for shift in range(n)]
    # Of an odd number it takes each row in both directions.
    return rows + [row[::-1] for row in rows] if n % 2 else rows


def median_interval(values: Sequence[float]) -> Interval:
    """The median, and the order statistics that enclose it with 95 % (or all, of fewer than 6)."""
    ordered, n = sorted(values), len(values)
    lowest, below = 0, 0.0
    for k in range(n):
        below += math.comb(n, k) / 2**n
        if below > 0.025:
            break
        lowest = k + 1
    lowest = max(lowest - 1, 0)
    return statistics.median(ordered), ordered[lowest], ordered[n - 1 - lowest]


def ratios(seconds: dict[str, list[float]], peer: str) -> dict[str, Interval]:
    """For each but the peer, the ratios of its times to the peer's in the same blocks."""
    return {
        name: median_interval([a / b for a, b in zip(times, seconds[peer], strict=True)])
        for name, times in seconds.items()
        if name != peer
    }


def print_table(title: str, rows: Sequence[Sequence[Any]]) -> None:
    """Prints rows, the first of which is the header, in columns."""
    cells = [[str(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    print(f"\n{title}")
    for row in cells:
        print("  ".join(c.ljust(width) for c, width in zip(row, widths, strict=True)).rstrip())


def with_interval(ratio: Interval | None) -> str:
    """A ratio and its interval as a cell of a table."""
    return "-" if ratio is None else "{:.3f} [{:.3f}, {:.3f}]".format(*ratio)
