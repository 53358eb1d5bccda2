"""The heat map of a metric by two hyperparameters."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from fnopt.core.quantile import quantile
from fnopt.lab.style import Theme, style_axes, theme_of
from fnopt.sweeps.entrants import Runs, by_entrant, by_values, values_of, varying
from fnopt.sweeps.measure import Measure
from fnopt.sweeps.scales import is_wide, name_ticks, places, set_scale, words

FULL = 0.5
"""The share of all pairs of values at which they are a grid, drawn as cells."""
FAR = 1e3
"""On a logarithmic scale, colours go from the best value to at most so many times it."""
COLUMNS = 14
"""Most columns whose cells have their values written in them."""


class Cell(NamedTuple):
    """The best entrant of a pair of values.

    Attributes:
        x: place of the first among the values of its hyperparameter.
        y: place of the second.
        median: median over the seeds; infinite where most of them diverged.
        diverged: how many runs diverged.
    """

    x: int
    y: int
    median: float
    diverged: int


def cells_of(runs: Runs, measure: Measure, names: tuple[str, str]) -> list[Cell]:
    """The best entrant for each pair of values of two hyperparameters.

    Args:
        runs: the runs.
        measure: what they are judged by.
        names: names of the hyperparameters.
    """
    cells = []
    for (x, y), group in by_values(runs, names).items():
        best = min(by_entrant(group), key=measure.rank_of_all)
        median = quantile(map(measure.score, best), 0.5)
        cells.append(Cell(x, y, median, sum(run.diverged for run in best)))
    return cells


def draw_heat_map(
    runs: Runs,
    measure: Measure,
    names: tuple[str, str],
    path: str | os.PathLike | None,
    theme: str,
    title: str,
) -> Any:
    """Draws a metric by two hyperparameters; see :meth:`fnopt.sweeps.Sweep.plot`.

    Args:
        runs: the runs, of which one at least has a finite value.
        measure: what they are judged by.
        names: names of the hyperparameters along the horizontal and the vertical axis.
        path: path of the picture; not saved if None.
        theme: ``"light"`` or ``"dark"``.
        title: title of the picture.
    """
    from fnopt.core.figure import ShownFigure, save

    colors, cells = theme_of(theme), cells_of(runs, measure, names)
    values = values_of(runs, names[0]), values_of(runs, names[1])
    full = len(cells) >= FULL * len(values[0]) * len(values[1])
    height = min(max(2.6, 1.3 + 0.36 * len(values[1])), 7.0) if full else 4.4
    figure = ShownFigure(figsize=(7.2, height), layout="constrained")
    axes = figure.subplots()
    style_axes(axes, colors)
    axes.grid(visible=not full)
    norm, extend = _norm(cells, measure)
    cmap = "cividis_r" if measure.sign > 0 else "cividis"  # yellow is best
    draw = _draw_cells if full else _draw_points
    image = draw(axes, cells, values, norm, cmap, colors)
    _mark_best(axes, cells, values, full, measure.sign, colors.ink)
    others = [words(name) for name in varying(runs) if name not in names]
    note = f"\nat each the best {' and '.join(others)}" if others else ""
    axes.set(xlabel=words(names[0]) + note, ylabel=words(names[1]), title=title)
    _bar(axes, image, runs, measure, cells, extend)
    if path is not None:
        save(figure, path, 120)
    return figure


def _norm(cells: Sequence[Cell], measure: Measure) -> tuple[Any, str]:
    """The scale of the colours, and the end at which values lie beyond it."""
    from matplotlib.colors import LogNorm, Normalize

    medians = [cell.median for cell in cells if math.isfinite(cell.median)]
    if not medians:  # one seed of a few is finite
        return Normalize(0, 1), "neither"
    low, high = min(medians), max(medians)
    if is_wide(measure.metric, medians):
        beyond = measure.sign > 0 and high > FAR * low
        return LogNorm(low, min(high, FAR * low)), "max" if beyond else "neither"
    return Normalize(low, high if high > low else low + (abs(low) or 1.0)), "neither"


def _draw_cells(
    axes: Any, cells: Sequence[Cell], values: tuple[Any, Any], norm: Any, cmap: str, colors: Theme
) -> Any:
    """A cell for each pair of values, with the median in it; a cross where most runs diverged."""
    columns, rows = values
    medians = np.full((len(rows), len(columns)), np.nan)
    for cell in cells:
        medians[cell.y, cell.x] = cell.median
    edges = [np.arange(n + 1) - 0.5 for n in (len(columns), len(rows))]
    shown = np.ma.masked_invalid(medians)
    image = axes.pcolormesh(
        *edges, shown, norm=norm, cmap=cmap, edgecolors=colors.background, linewidth=0.8
    )
    name_ticks(axes.xaxis, columns)
    name_ticks(axes.yaxis, rows)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    digits = 3 if len(columns) <= 12 else 2
    for cell in cells:
        if math.isinf(cell.median):
            text, ink, size = "×", colors.muted, 11.0
        else:
            values_fit = len(columns) <= COLUMNS
            text = (_digits(cell.median, digits) if values_fit else "") + "×" * (cell.diverged > 0)
            ink, size = _readable(image.cmap(norm(cell.median))), 7.5
        axes.text(cell.x, cell.y, text, ha="center", va="center", color=ink, size=size)
    return image


def _draw_points(
    axes: Any, cells: Sequence[Cell], values: tuple[Any, Any], norm: Any, cmap: str, colors: Theme
) -> Any:
    """A point for each pair of values, the better ones above; a cross where most runs diverged."""
    along = []
    for axis, different in zip((axes.xaxis, axes.yaxis), values, strict=True):
        at, scale = places(different)
        set_scale(axis, different, scale)
        along.append(at)
    axes.margins(0.06)
    for cell in cells:
        if math.isinf(cell.median):
            point = along[0][cell.x], along[1][cell.y]
            axes.plot(*point, "x", color=colors.muted, markersize=6, mew=1.5)
    finite = [cell for cell in cells if math.isfinite(cell.median)]
    x, y = ([at[cell[i]] for cell in finite] for i, at in enumerate(along))
    return axes.scatter(
        x, y, c=[cell.median for cell in finite], norm=norm, cmap=cmap, s=60,
        edgecolors=colors.muted, linewidths=0.7, zorder=3,
    )  # fmt: skip


def _mark_best(
    axes: Any, cells: Sequence[Cell], values: tuple[Any, Any], full: bool, sign: int, color: str
) -> None:
    """A frame around the best cell, or a ring around the best point."""
    from matplotlib.patches import Rectangle

    best = min(cells, key=lambda cell: sign * cell.median)
    if math.isinf(best.median):
        return
    if full:
        frame = {"fill": False, "edgecolor": color, "linewidth": 2.2, "clip_on": False}
        axes.add_patch(Rectangle((best.x - 0.5, best.y - 0.5), 1, 1, zorder=4, **frame))
    else:
        x, y = places(values[0])[0][best.x], places(values[1])[0][best.y]
        axes.plot([x], [y], "o", mfc="none", mec=color, markersize=12, mew=1.8, zorder=4)


def _bar(
    axes: Any, image: Any, runs: Runs, measure: Measure, cells: Sequence[Cell], extend: str
) -> None:
    """The scale of the colours, with its label."""
    from matplotlib.ticker import FuncFormatter

    from fnopt.core.ticks import number_ticks, plain_number

    ink = axes.xaxis.label.get_color()
    bar = axes.figure.colorbar(image, ax=axes, extend=extend, format=FuncFormatter(plain_number))
    low, high = image.norm.vmin, image.norm.vmax
    if is_wide(measure.metric, [low, high]):
        number_ticks(bar.ax.yaxis, low, high, logarithmic=True)
    seeds = max(map(len, by_entrant(runs)))
    over = f"\nmedian over {seeds} seeds" if seeds > 1 else ""
    crosses = "\n× runs diverged" if any(cell.diverged for cell in cells) else ""
    bar.set_label(f"{measure.at} {words(measure.metric)}{over}{crosses}", color=ink)
    bar.ax.tick_params(colors=ink, which="both")
    bar.outline.set_visible(False)


def _digits(value: float, digits: int) -> str:
    """A number with exactly so many digits: ``3.00``, ``0.0825``."""
    return f"{value:#.{digits}g}".removesuffix(".").replace("e-0", "e-").replace("e+0", "e")


def _readable(color: Sequence[float]) -> str:
    """Black or white, whichever can be read on a colour."""
    red, green, blue = color[:3]
    return "#000000" if 0.299 * red + 0.587 * green + 0.114 * blue > 0.5 else "#ffffff"
