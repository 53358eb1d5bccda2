"""Curves with bands over seeds, labelled at their ends."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from fnopt.lab.style import COLORS, dress, theme_of


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
) -> Any:
    """A picture of curves, each labelled at its end; of several runs, the median and a band.

    Args:
        curves: a dict from labels to curves. A curve is an array of values, or a pair of places
            and values. Values of shape (runs, points) are drawn as their median, with a band
            between the quartiles.
        xlabel: what is along the horizontal axis.
        ylabel: what is along the vertical axis.
        xscale: ``"linear"`` or ``"log"``.
        yscale: likewise.
        title: title above it.
        theme: ``"light"`` or ``"dark"``.
        path: path of the picture; not saved if None.

    Returns:
        The figure, which a notebook shows.
    """
    from fnopt.core.figure import ShownFigure

    look = theme_of(theme)
    figure = ShownFigure(figsize=(7.2, 4.2), layout="constrained")
    axes = figure.subplots()
    for (label, curve), color in zip(curves.items(), COLORS * len(curves), strict=False):
        at, values = curve if isinstance(curve, tuple) else (None, curve)
        values = np.atleast_2d(np.asarray(values, float))
        at = np.arange(values.shape[1]) if at is None else np.asarray(at, float)
        low, middle, high = np.nanquantile(values, [0.25, 0.5, 0.75], axis=0)
        axes.plot(at, middle, color=color)
        if len(values) > 1:
            axes.fill_between(at, low, high, color=color, alpha=0.2, linewidth=0)
        axes.annotate(
            label, (at[-1], middle[-1]), xytext=(4, 0), textcoords="offset points", color=color,
            va="center", annotation_clip=False,
        )  # fmt: skip
    axes.set(xlabel=xlabel, ylabel=ylabel, xscale=xscale, yscale=yscale, title=title)
    dress(axes, look)
    if path is not None:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, dpi=120)
    return figure
