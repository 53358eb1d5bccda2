"""The picture of a gradient noise scale."""

from __future__ import annotations

import math
import os
from typing import Any

import numpy as np

from fnopt.core.ticks import plain_number
from fnopt.lab.curves import plot_curves
from fnopt.lab.style import COLORS, text_color, theme_of


def plot_noise_scale(
    found: Any, title: str, theme: str, path: str | os.PathLike | None, axes: Any
) -> Any:
    """Draws a noise scale; see :meth:`NoiseScale.plot`.

    Args:
        found: the estimate.
        title: title above it.
        theme: ``"light"`` or ``"dark"``.
        path: path of the picture; not saved if None.
        axes: matplotlib's axes; those of a new figure if None.
    """
    from fnopt.core.figure import ShownFigure, save

    if not math.isfinite(found.scale):
        raise ValueError(
            "NoiseScale.plot: the gradient is smaller than the noise of its estimate, so that there"
            " is no noise scale; give more data"
        )
    colors = theme_of(theme)
    if axes is None:
        axes = ShownFigure(figsize=(7.2, 4.2), layout="constrained").subplots()
    low, high = found.interval
    ends = np.array([*found.batch_sizes, found.scale, low or found.scale])
    sizes = np.geomspace(max(1, ends.min() / 4), 4 * ends.max(), 100)
    squared_norm, trace = found.noise
    curves = {
        "|G|² + tr Σ / b": (sizes, squared_norm + trace / sizes),
        "measured": (found.batch_sizes, found.squared_norms),
    }
    plot_curves(
        curves, points=["measured"], references={"|G|²": squared_norm}, xscale="log", yscale="log",
        xlabel="batch size b", ylabel="mean |gradient|² of a batch", title=title, theme=theme,
        axes=axes,
    )  # fmt: skip
    axes.errorbar(
        found.batch_sizes, found.squared_norms, found.squared_norm_errors, linestyle="",
        color=COLORS[1], capsize=2, linewidth=1,
    )  # fmt: skip
    limits = axes.get_xlim()
    color = COLORS[2]
    axes.axvspan(max(low, limits[0]), min(high, limits[1]), color=color, alpha=0.15, linewidth=0)
    axes.axvline(found.scale, color=color, linewidth=1.4, zorder=1)
    axes.annotate(
        f"noise scale {plain_number(float(f'{found.scale:.2g}'))}", (found.scale, 1), (6, -4),
        xycoords=("data", "axes fraction"), textcoords="offset points", ha="left", va="top",
        size=9, color=text_color(color, colors),
    )  # fmt: skip
    axes.set_xlim(limits)
    if path is not None:
        save(axes.figure, path, 120)
    return axes.figure
