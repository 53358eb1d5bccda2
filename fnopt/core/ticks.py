"""Ticks that are plain numbers; imported where a picture is drawn, as it needs matplotlib."""

from __future__ import annotations

from typing import Any

from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator


def number_ticks(axis: Any, low: float, high: float, *, logarithmic: bool) -> None:
    """Gives an axis plain numbers as ticks: no offset, no common power of ten.

    Args:
        axis: matplotlib's axis, ``axes.xaxis`` or ``axes.yaxis``.
        low: the smallest number that is drawn.
        high: the largest.
        logarithmic: make the axis logarithmic; both numbers must be positive.
    """
    if logarithmic:
        {"x": axis.axes.set_xscale, "y": axis.axes.set_yscale}[axis.axis_name]("log")
        axis.set_minor_locator(NullLocator())
    if logarithmic and high / low >= 5:
        axis.set_major_locator(LogLocator(subs=(1, 2, 5) if high / low < 1000 else (1,)))
    else:
        axis.set_major_locator(MaxNLocator(nbins=6, steps=[1, 2, 5, 10]))
    axis.set_major_formatter(FuncFormatter(plain_number))


def plain_number(value: float, place: Any = None) -> str:
    """A number as a tick has it: ``0.001``, ``1e-5``; the second argument is not used."""
    return f"{value:.6g}".replace("e-0", "e-").replace("e+0", "e").replace("e+", "e")
