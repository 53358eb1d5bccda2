"""The picture of a learning rate range test."""

from __future__ import annotations

import os
from typing import Any

import numpy as np

from fnopt.core.ticks import plain_number
from fnopt.lab.curves import plot_curves
from fnopt.lab.style import COLORS, text_color, theme_of


def plot_range_test(
    test: Any, title: str, theme: str, path: str | os.PathLike | None, axes: Any
) -> Any:
    """Draws a range test; see :meth:`RangeTest.plot`.

    Args:
        test: the range test.
        title: title above it.
        theme: ``"light"`` or ``"dark"``.
        path: path of the picture; not saved if None.
        axes: matplotlib's axes; those of a new figure if None.
    """
    from fnopt.core.figure import ShownFigure, save

    colors = theme_of(theme)
    finite = np.isfinite(test.losses)
    if not finite.any():
        raise ValueError(
            "RangeTest.plot: no loss is finite, from the first rate on; look at the objective and"
            " the data, or try a lower `low`"
        )
    if axes is None:
        axes = ShownFigure(figsize=(7.2, 4.2), layout="constrained").subplots()
    inside = test.losses <= test.ceiling  # those above are beyond the edge
    curves = {
        "loss": (test.rates[inside], test.losses[inside]),
        "smoothed": (test.rates[finite], test.smoothed[finite]),
    }
    low, high = np.nanmin(test.losses), max(test.ceiling, np.nanmax(test.smoothed))
    room = 0.05 * (high - low) or 0.5
    plot_curves(
        curves, points=["loss"], xscale="log", xlabel="learning rate", ylabel="loss", title=title,
        theme=theme, ylim=(low - room, high + room), axes=axes,
    )  # fmt: skip
    if test.suggestion is not None:
        color = COLORS[2]
        axes.axvline(test.suggestion, color=color, linewidth=1.4, zorder=1)
        axes.annotate(
            f"suggestion {plain_number(float(f'{test.suggestion:.2g}'))}",
            (test.suggestion, 1), (-6, -4), xycoords=("data", "axes fraction"),
            textcoords="offset points", ha="right", va="top", size=9,
            color=text_color(color, colors),
        )  # fmt: skip
    if path is not None:
        save(axes.figure, path, 120)
    return axes.figure
