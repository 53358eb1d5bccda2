"""Labels at the ends of lines that do not overlap."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from scipy.optimize import isotonic_regression

from fnopt.lab.style import Theme, text_color


class End(NamedTuple):
    """Where a line ends, and what is to be said of it.

    Attributes:
        text: the label.
        x: its horizontal place, in units of the data.
        y: its vertical place, likewise.
        color: that of the line.
    """

    text: str
    x: float
    y: float
    color: str


def spread(wanted: Sequence[float], gap: float, low: float, high: float) -> np.ndarray:
    """The places next to the wanted ones that keep a distance from each other.

    They are the solution of least squares with these constraints: order, distance and range.

    Args:
        wanted: where they would best be.
        gap: the least distance between two of them. It is smaller where the range has no room.
        low: the lowest place.
        high: the highest place.

    Returns:
        The places, in the order of ``wanted``.

    >>> spread([1.0, 1.0, 5.0], gap=1.0, low=0.0, high=10.0)
    array([0.5, 1.5, 5. ])
    """
    best = np.asarray(wanted, float)
    if len(best) < 2:
        return np.clip(best, low, high)
    gap = min(gap, (high - low) / (len(best) - 1))
    order = np.argsort(best, kind="stable")
    steps = gap * np.arange(len(best))
    level = isotonic_regression(best[order] - steps).x
    places = np.empty_like(best)
    places[order] = np.clip(level, low, high - steps[-1]) + steps
    return places


def label_ends(axes: Any, ends: Sequence[End], theme: Theme, *, size: float = 9.0) -> list[Any]:
    """Labels lines in a column to the right of axes, each as near to the end of its line as it can.

    Call it when all else is drawn and the limits of the axes are set: it lays out the figure.

    Args:
        axes: matplotlib's axes.
        ends: where the lines end. An end outside the axes is labelled at their edge.
        theme: the theme, which decides how dark the text is.
        size: size of the text in points.

    Returns:
        The labels, matplotlib's annotations.
    """
    figure = axes.figure
    (left, right), (bottom, top) = sorted(axes.get_xlim()), sorted(axes.get_ylim())
    labels = []
    for text, x, y, color in ends:
        leader = {"arrowstyle": "-", "color": color, "linewidth": 0.8, "relpos": (0, 0.5)}
        label = axes.annotate(
            text,
            (np.clip(x, left, right), np.clip(np.nan_to_num(y, nan=top), bottom, top)),
            (1.03, 0.5),
            textcoords="axes fraction",
            size=size,
            va="center",
            color=text_color(color, theme),
            annotation_clip=False,
            arrowprops={**leader, "shrinkA": 1, "shrinkB": 0},
        )
        labels.append(label)
    if (engine := figure.get_layout_engine()) is not None:
        engine.execute(figure)  # the labels' width is known, so that the axes have their height
    height = axes.get_window_extent().height
    to_axes = axes.transData + axes.transAxes.inverted()
    wanted = to_axes.transform([label.xy for label in labels])[:, 1] if labels else []
    gap = 1.25 * size * figure.dpi / 72 / height
    for label, place in zip(labels, spread(wanted, gap, 0.0, 1.0), strict=True):
        label.set_position((1.03, place))
    return labels
