"""Curves with bands over seeds, labelled at their ends."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from typing import Any, NamedTuple

import numpy as np

from fnopt.core.checks import one_of
from fnopt.lab.ends import End
from fnopt.lab.labels import label_ends
from fnopt.lab.style import line_styles, style_axes, theme_of

BANDS = ("quartiles", "range", "deviation", "runs")
SCALES = ("linear", "log")
FEW = 20
"""A curve of at most so many points has them marked."""


class Curve(NamedTuple):
    """A curve as it is drawn: its runs, their middle and their band.

    Attributes:
        label: its label.
        at: places along the horizontal axis, shape (points,).
        runs: values, shape (runs, points).
        middle: the line, shape (points,).
        low: lower edge of the band.
        high: upper edge of the band.
        ends: whether no run is finite at the last place.
    """

    label: str
    at: np.ndarray
    runs: np.ndarray
    middle: np.ndarray
    low: np.ndarray
    high: np.ndarray
    ends: bool


def plot_curves(
    curves: Mapping[str, Any],
    *,
    xlabel: str = "step",
    ylabel: str = "",
    xscale: str = "linear",
    yscale: str = "linear",
    title: str = "",
    theme: str = "light",
    path: str | os.PathLike | None = None,
    band: str = "quartiles",
    references: Mapping[str, float] | None = None,
    points: Collection[str] = (),
    ylim: tuple[float | None, float | None] = (None, None),
    axes: Any = None,
) -> Any:
    """Draws curves, each labelled at its end; of several runs, the median and a band.

    A curve that is no longer finite, as one of a run that diverged or was stopped early, ends with
    a cross. Where it goes far beyond the curves that stay finite, it is cut off at the edge. Where
    some of its runs are not finite at a point, the median and the band are those of the others, and
    the label says how many reach the end.

    Args:
        curves: a dict from labels to curves. A curve is an array of values, or a pair
            ``(x, values)``. Values of shape (runs, points) are drawn as their median, with a band.
        xlabel: label of the horizontal axis.
        ylabel: label of the vertical axis.
        xscale: scale of the horizontal axis, ``"linear"`` or ``"log"``. Curves without x count
            from 0, on ``"log"`` from 1.
        yscale: scale of the vertical axis; on ``"log"`` values that are not positive are not drawn.
        title: title of the picture.
        theme: ``"light"`` or ``"dark"``.
        path: path of the picture; not saved if None.
        band: what is drawn of several runs: ``"quartiles"`` for the median and the quartiles,
            ``"range"`` for the median and all between the lowest and the highest, ``"deviation"``
            for the mean and one standard deviation on both sides, ``"runs"`` for the median and
            each run as a thin line.
        references: a dict from labels to values at which a dashed line is drawn.
        points: labels of the curves that are drawn as points without a line. The others are lines,
            with points on them where a curve has at most 20, or gaps.
        ylim: lowest and highest value of the vertical axis; None for those of the curves.
        axes: matplotlib's axes to draw on; those of a new figure if None.

    Returns:
        The figure, which a notebook shows.

    Raises:
        ImportError: matplotlib is not installed.
        ValueError: there is no curve, the x of a curve has another length than its values, a curve
            has no value that can be drawn, or an option is not one of those named.
    """
    one_of("plot_curves: band", band, BANDS)
    for name, scale in (("xscale", xscale), ("yscale", yscale)):
        one_of(f"plot_curves: {name}", scale, SCALES)
    colors = theme_of(theme)
    drawn = [_curve(label, curve, band, xscale, yscale) for label, curve in curves.items()]
    if not drawn:
        raise ValueError("plot_curves: there are no curves; give a dict from labels to values")
    if unknown := [label for label in points if label not in curves]:
        raise ValueError(f"plot_curves: points names {unknown[0]!r}, which is none of the curves")

    from fnopt.core.figure import ShownFigure, save

    if axes is None:
        axes = ShownFigure(figsize=(7.2, 4.2), layout="constrained").subplots()
    style_axes(axes, colors)
    references = dict(references or {})
    for value in references.values():
        axes.axhline(value, color=colors.muted, linewidth=1, linestyle=(0, (5, 3)), zorder=1)
    ends = [End(label, None, y, colors.muted) for label, y in references.items()]
    styles = line_styles(len(drawn))
    for curve, style in zip(drawn, styles, strict=True):
        _draw(axes, curve, band, style | {"linestyle": ""} if curve.label in points else style)
    _limits(axes, drawn, list(references.values()), xscale, yscale)
    axes.set_ylim(*ylim)
    ends += [_end(axes, curve, style["color"]) for curve, style in zip(drawn, styles, strict=True)]
    axes.set(xlabel=xlabel, ylabel=ylabel, title=title)
    label_ends(axes, ends, colors)
    if path is not None:
        save(axes.figure, path, 120)
    return axes.figure


def _curve(label: str, curve: Any, band: str, xscale: str, yscale: str) -> Curve:
    """A curve and its band; on a logarithmic axis without what cannot be drawn."""
    at, values = curve if isinstance(curve, tuple) else (None, curve)
    runs = np.atleast_2d(np.asarray(values, float))
    if runs.ndim > 2:
        raise ValueError(
            f"plot_curves: the values of {label!r} have the shape {runs.shape}; it must be"
            " (points,) or (runs, points)"
        )
    at = np.arange(runs.shape[1]) + (xscale == "log") if at is None else np.asarray(at, float)
    if at.shape != runs.shape[1:]:
        raise ValueError(
            f"plot_curves: {label!r} has x of shape {at.shape} for {runs.shape[1]} points; give one"
            " for each"
        )
    finite = np.isfinite(runs)
    drawable = finite & (at > 0 if xscale == "log" else True)
    drawable &= runs > 0 if yscale == "log" else True
    if not drawable.any():
        of = " on these axes" if "log" in (xscale, yscale) else ""
        raise ValueError(f"plot_curves: {label!r} has no value that can be drawn{of}")
    runs = np.where(drawable, runs, np.nan)
    columns = drawable.any(0)  # of an empty one there are no quantiles
    shares = [0.25, 0.5, 0.75] if band == "quartiles" else [0.0, 0.5, 1.0]
    edges = np.full((3, len(at)), np.nan)
    if band == "deviation":
        mean, deviation = np.nanmean(runs[:, columns], 0), np.nanstd(runs[:, columns], 0)
        edges[:, columns] = mean - deviation, mean, mean + deviation
    else:
        edges[:, columns] = np.nanquantile(runs[:, columns], shares, axis=0)
    low, middle, high = edges
    return Curve(label, at, runs, middle, low, high, not finite[:, -1].any())


def _draw(axes: Any, curve: Curve, band: str, style: dict[str, Any]) -> None:
    several, color, line = len(curve.runs) > 1, style["color"], style["linestyle"]
    inside = curve.middle[slice(*np.flatnonzero(np.isfinite(curve.middle))[[0, -1]])]
    gaps = not np.isfinite(inside).all()  # a point between two gaps has no line
    marker = "o" if len(curve.at) <= FEW or gaps or not line else ""
    axes.plot(curve.at, curve.middle, **style, marker=marker, markersize=4)
    if several and band == "runs":
        axes.plot(curve.at, curve.runs.T, color=color, alpha=0.35, linewidth=0.7)
    elif several and line:
        axes.fill_between(curve.at, curve.low, curve.high, color=color, alpha=0.2, linewidth=0)
    elif several:
        middle, beyond = curve.middle, [curve.middle - curve.low, curve.high - curve.middle]
        axes.errorbar(curve.at, middle, beyond, linestyle="", color=color, capsize=2, linewidth=1)


def _end(axes: Any, curve: Curve, color: str) -> End:
    """The label at the last visible point; a cross where the curve ends early."""
    finite = np.flatnonzero(np.isfinite(curve.middle))
    low, high = sorted(axes.get_ylim())
    last = end = finite[-1]
    inside = (curve.middle[finite] >= low) & (curve.middle[finite] <= high)
    if not inside[-1]:  # then where it leaves
        end = finite[np.flatnonzero(inside)[-1] + 1] if inside.any() else last
    elif curve.ends:
        axes.plot(curve.at[last], curve.middle[last], "x", color=color, markersize=8, mew=2)
    reached, all_runs = int(np.isfinite(curve.runs[:, last]).sum()), len(curve.runs)
    note = "" if reached == all_runs else f" ({reached} of {all_runs} runs)"
    return End(curve.label + note, float(curve.at[end]), float(curve.middle[end]), color)


def _limits(
    axes: Any, curves: list[Curve], references: list[float], xscale: str, yscale: str
) -> None:
    """Sets scales, ticks and limits; curves that end early do not widen the limits far."""
    from fnopt.core.ticks import number_ticks

    at = np.concatenate([curve.at for curve in curves])
    at = at[at > 0] if xscale == "log" else at
    number_ticks(axes.xaxis, at.min(), at.max(), logarithmic=xscale == "log")
    axes.margins(x=0.02)
    marked = np.array([value for value in references if value > 0 or yscale == "linear"])
    all_values = [_drawn_values(curve, yscale) for curve in curves]
    complete = [_drawn_values(curve, yscale) for curve in curves if not curve.ends]
    starts = np.array([curve.middle[np.isfinite(curve.middle)][0] for curve in curves])
    everything = np.concatenate([marked, *all_values])
    kept = np.concatenate([marked, starts, *complete]) if complete else everything
    low, high = _range(kept, yscale, 0.5)
    low, high = max(low, everything.min()), min(high, everything.max())
    number_ticks(axes.yaxis, low, high, logarithmic=yscale == "log")
    axes.set_ylim(_range(np.array([low, high]), yscale, 0.04))


def _drawn_values(curve: Curve, yscale: str) -> np.ndarray:
    """The values that are drawn of a curve: its line and its band."""
    values = np.concatenate([curve.low, curve.middle, curve.high])
    return values[np.isfinite(values) & (values > 0 if yscale == "log" else True)]


def _range(values: np.ndarray, yscale: str, share: float) -> tuple[float, float]:
    """The range of values, with a share of its length on the axis added on both sides."""
    if yscale == "log":
        low, high = _range(np.log10(values), "linear", share)
        return 10**low, 10**high
    low, high = values.min(), values.max()
    room = share * (high - low) or abs(high) / 10 or 0.5
    return low - room, high + room
