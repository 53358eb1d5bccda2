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
    rates = test.rates[finite]
    curves = {"smoothed": (rates, test.smoothed[finite]), "loss": (rates, test.losses[finite])}
    plot_curves(
        curves, points=["loss"], xscale="log", xlabel="learning rate", ylabel="loss", title=title,
        theme=theme, ylim=_limits(test.losses[finite], test.smoothed[finite]), axes=axes,
    )  # fmt: skip
    # The rates that were not reached belong to the range that was asked for.
    axes.set_xlim(test.rates[0] / 1.2, test.rates[-1] * 1.2)
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


def _limits(losses: np.ndarray, smoothed: np.ndarray) -> tuple[float, float]:
    """The range of the losses, without the last part of one that grows out of all proportion."""
    low, first = min(losses.min(), smoothed.min()), losses[: max(1, len(losses) // 4)].max()
    high = min(max(losses.max(), smoothed.max()), low + 2 * max(first - low, abs(low)) + 1e-12)
    room = 0.05 * (high - low) or 0.5
    return low - room, high + room
