"""The picture of the sizes of steps."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from fnopt.lab.curves import plot_curves
from fnopt.lab.style import COLORS, style_axes, theme_of


def plot_step_sizes(
    steps: Sequence[int],
    sizes: Mapping[str, np.ndarray],
    label: str,
    title: str,
    theme: str,
    path: str | os.PathLike | None,
) -> Any:
    """Draws sizes of steps; see :meth:`StepSizeRecorder.plot`.

    Args:
        steps: the numbers of steps.
        sizes: a dict from the paths of leaves to the sizes at these steps.
        label: what the sizes are.
        title: title above it.
        theme: ``"light"`` or ``"dark"``.
        path: path of the picture; not saved if None.
    """
    drawable = {
        name: values for name, values in sizes.items() if (np.isfinite(values) & (values > 0)).any()
    }
    if not drawable:
        raise ValueError("StepSizeRecorder.plot: no leaf has moved, so that there is no size")
    if len(drawable) <= len(COLORS):
        curves = {name: (np.asarray(steps), values) for name, values in drawable.items()}
        options = {"ylabel": label, "yscale": "log", "title": title, "theme": theme, "path": path}
        return plot_curves(curves, **options)
    return _heat_map(steps, drawable, label, title, theme, path)


def _heat_map(
    steps: Sequence[int],
    sizes: Mapping[str, np.ndarray],
    label: str,
    title: str,
    theme: str,
    path: str | os.PathLike | None,
) -> Any:
    """A row for each leaf, the first on top, with color on a logarithmic scale."""
    from matplotlib.colors import LogNorm
    from matplotlib.ticker import FuncFormatter

    from fnopt.core.figure import ShownFigure, save
    from fnopt.core.ticks import plain_number

    colors, rows = theme_of(theme), np.stack(list(sizes.values()))
    rows = np.where(np.isfinite(rows) & (rows > 0), rows, np.nan)
    figure = ShownFigure(figsize=(7.2, max(3.2, 0.8 + 0.22 * len(rows))), layout="constrained")
    axes = figure.subplots()
    style_axes(axes, colors)
    axes.grid(visible=False)
    edges = np.concatenate([[steps[0] - (steps[1] - steps[0] if len(steps) > 1 else 1)], steps])
    norm = LogNorm(np.nanmin(rows), np.nanmax(rows))
    image = axes.pcolormesh(
        edges, np.arange(len(rows) + 1), rows, norm=norm, cmap="cividis", rasterized=True
    )
    axes.invert_yaxis()
    axes.set_yticks(np.arange(len(rows)) + 0.5, list(sizes), fontsize=8)
    axes.tick_params(axis="y", length=0)
    axes.set(xlabel="step", title=title)
    bar = figure.colorbar(image, ax=axes, format=FuncFormatter(plain_number))
    bar.set_label(label, color=colors.ink)
    bar.ax.tick_params(colors=colors.ink, which="both")
    bar.outline.set_visible(False)
    if path is not None:
        save(figure, path, 120)
    return figure
