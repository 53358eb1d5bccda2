"""The picture of a metric against a hyperparameter."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from fnopt.core.quantile import quantile
from fnopt.lab.ends import End
from fnopt.lab.labels import label_ends
from fnopt.lab.style import line_styles, style_axes, theme_of
from fnopt.sweeps.entrants import OPTIMIZER, Runs, by_entrant, by_values, values_of, varying
from fnopt.sweeps.measure import Measure
from fnopt.sweeps.scales import is_wide, places, set_scale, words
from fnopt.sweeps.texts import is_number, short_texts

ROWS = 8
"""Most rows of crosses at the edge; of more lines some share a row."""


class Line(NamedTuple):
    """A line of the picture, with a value for each place.

    Attributes:
        label: its label.
        places: numbers of the values of the hyperparameter, in rising order.
        middle: the median; infinite where most runs diverged.
        low: the lower quartile.
        high: the upper quartile.
        diverged: how many runs diverged.
        joined: whether the points are joined; those of a random draw, or of names, are not.
        chosen: whether there are several entrants at a place, of which the line has the best.
    """

    label: str
    places: np.ndarray
    middle: np.ndarray
    low: np.ndarray
    high: np.ndarray
    diverged: np.ndarray
    joined: bool
    chosen: bool


def draw_values(
    runs: Runs,
    measure: Measure,
    x: str,
    lines: str | None,
    path: str | os.PathLike | None,
    theme: str,
    title: str,
) -> Any:
    """Draws a metric against a hyperparameter; see :meth:`fnopt.sweeps.Sweep.plot`.

    Args:
        runs: the runs, of which one at least has a finite value.
        measure: what they are judged by.
        x: name of the hyperparameter along the horizontal axis.
        lines: name of that of the lines; None for one line.
        path: path of the picture; not saved if None.
        theme: ``"light"`` or ``"dark"``.
        title: title of the picture.
    """
    from fnopt.core.figure import ShownFigure, save

    colors, drawn = theme_of(theme), lines_of(runs, measure, x, lines)
    values = values_of(runs, x)
    at, scale = places(values)
    figure = ShownFigure(figsize=(7.2, 4.2), layout="constrained")
    axes = figure.subplots()
    style_axes(axes, colors)
    set_scale(axes.xaxis, values, scale)
    if scale != "names":
        axes.margins(x=0.04)
    styles = line_styles(len(drawn))
    crossed = [line for line in drawn if line.diverged.any()]
    rows = min(len(crossed), ROWS)
    bottom, top = _limits(axes, drawn, measure, rows)
    if not all(map(is_number, values)):  # there is nothing between names
        drawn = [line._replace(joined=False) for line in drawn]
    for line, style in zip(drawn, styles, strict=True):
        _draw(axes, line, at[line.places], style, (bottom, top))
    _mark_diverged(axes, drawn, at, [style["color"] for style in styles], measure)
    _mark_best(axes, drawn, at, measure, colors.ink)
    axes.set_ylim(bottom, top)
    others = [words(name) for name in varying(runs) if name not in (x, lines)]
    note = (
        f"\nat each point the best {' and '.join(others)}" if any(y.chosen for y in drawn) else ""
    )
    axes.set(xlabel=words(x) + note, ylabel=_ylabel(runs, measure), title=title)
    ends = [
        _end(line, at, style["color"], top if measure.sign > 0 else bottom)
        for line, style in zip(drawn, styles, strict=True)
        if line.label or not np.isfinite(line.middle).any()
    ]
    if crossed:
        place = _at_share(axes, _row(rows - 1, measure) / 2 + _row(0, measure) / 2)
        ends.insert(0, End("× runs diverged", None, place, colors.muted))
    label_ends(axes, ends, colors)
    if path is not None:
        save(figure, path, 120)
    return figure


def lines_of(runs: Runs, measure: Measure, x: str, lines: str | None) -> list[Line]:
    """The lines of the picture; at each place of the best entrant that there is.

    Args:
        runs: the runs.
        measure: what they are judged by.
        x: name of the hyperparameter along the horizontal axis.
        lines: name of that of the lines; None for one line.
    """
    groups: dict[int, dict[int, Sequence[Runs]]] = {}
    for (place, *which), group in by_values(runs, [x] if lines is None else [x, lines]).items():
        groups.setdefault(which[0] if which else 0, {})[place] = by_entrant(group)
    names = [""]
    if lines is not None:
        texts = short_texts(values_of(runs, lines), 48)
        named = [is_number(x) or isinstance(x, bool) or x is None for x in values_of(runs, lines)]
        names = [
            f"{words(lines)} {text}" if is_short else text
            for text, is_short in zip(texts, named, strict=True)
        ]
    return [
        _line(names[which], entrants, measure, {x, lines, OPTIMIZER})
        for which, entrants in sorted(groups.items())
    ]


def _line(
    label: str, entrants: dict[int, Sequence[Runs]], measure: Measure, shown: set[str | None]
) -> Line:
    """A line.

    Args:
        label: its label.
        entrants: the runs of each entrant at each place.
        measure: what they are judged by.
        shown: names of hyperparameters that the picture shows.
    """
    best = {place: min(groups, key=measure.rank_of_all) for place, groups in entrants.items()}
    scores = [[measure.score(run) for run in group] for group in best.values()]
    low, middle, high = (
        np.array([quantile(each, share) for each in scores]) for share in (0.25, 0.5, 0.75)
    )
    diverged = np.array([sum(run.diverged for run in group) for group in best.values()])
    others = set(varying([run for group in best.values() for run in group])) - shown
    one_each = all(len(groups) == 1 for groups in entrants.values())
    joined = not (one_each and others)
    return Line(label, np.array(list(best)), middle, low, high, diverged, joined, not one_each)


def _limits(axes: Any, lines: Sequence[Line], measure: Measure, rows: int) -> tuple[float, float]:
    """Sets the scale of the metric; limits of the axis, with room at the worse edge for crosses."""
    from fnopt.core.ticks import number_ticks

    values = np.concatenate([np.concatenate([x.low, x.middle, x.high]) for x in lines])
    values = values[np.isfinite(values)]
    logarithmic = is_wide(measure.metric, values)
    number_ticks(axes.yaxis, values.min(), values.max(), logarithmic=logarithmic)
    low, high = (np.log10 if logarithmic else np.asarray)([values.min(), values.max()])
    length = high - low or max(abs(high), abs(low)) / 5 or 1.0
    bottom, top = low - 0.06 * length, high + 0.06 * length
    room = 0.05 * rows * length
    bottom, top = (bottom, top + room) if measure.sign > 0 else (bottom - room, top)
    return (10**bottom, 10**top) if logarithmic else (float(bottom), float(top))


def _draw(
    axes: Any, line: Line, at: np.ndarray, style: dict[str, Any], limits: tuple[float, float]
) -> None:
    """The median and the quartiles; where a quartile is infinite the band goes to the edge."""
    finite = np.isfinite(line.middle)
    middle = np.where(finite, line.middle, np.nan)
    low, high = (np.where(finite, np.clip(x, *limits), np.nan) for x in (line.low, line.high))
    if not line.joined:
        style = style | {"linestyle": ""}
    axes.plot(at, middle, **style, marker="o", markersize=4, zorder=3)
    if np.array_equal(line.low, line.high):
        return
    if line.joined:
        axes.fill_between(at, low, high, color=style["color"], alpha=0.2, linewidth=0)
    else:
        beyond = [middle - low, high - middle]
        axes.errorbar(at, middle, beyond, linestyle="", color=style["color"], linewidth=1)


def _mark_diverged(
    axes: Any, lines: Sequence[Line], at: np.ndarray, colors: Sequence[str], measure: Measure
) -> None:
    """A cross at the worse edge where runs diverged, a row for each line."""
    row = 0
    for line, color in zip(lines, colors, strict=True):
        where = line.places[line.diverged > 0]
        if not where.size:
            continue
        axes.plot(
            at[where],
            np.full(where.size, _row(row, measure)),
            "x",
            color=color,
            markersize=5,
            mew=1.4,
            transform=axes.get_xaxis_transform(),
        )
        row += 1


def _row(number: int, measure: Measure) -> float:
    """The height of a row of crosses, as a share of that of the axes."""
    height = 0.03 + 0.042 * (number % ROWS)
    return 1 - height if measure.sign > 0 else height


def _at_share(axes: Any, share: float) -> float:
    """The value of the metric at a share of the height of the axes."""
    at = axes.transAxes.transform((0, share))
    return float(axes.transData.inverted().transform(at)[1])


def _mark_best(
    axes: Any, lines: Sequence[Line], at: np.ndarray, measure: Measure, color: str
) -> None:
    """A ring around the best median."""
    points = [
        (measure.sign * value, at[place], value)
        for line in lines
        for place, value in zip(line.places, line.middle, strict=True)
    ]
    _, x, y = min(points)
    if math.isfinite(y):
        axes.plot([x], [y], "o", mfc="none", mec=color, markersize=10, mew=1.2, zorder=4)


def _end(line: Line, at: np.ndarray, color: str, edge: float) -> End:
    finite = np.flatnonzero(np.isfinite(line.middle))
    if not finite.size:
        return End(f"{line.label} (diverged)".strip(), None, edge, color)
    last = finite[-1]
    return End(line.label, float(at[line.places[last]]), float(line.middle[last]), color)


def _ylabel(runs: Runs, measure: Measure) -> str:
    seeds = max(map(len, by_entrant(runs)))
    over = f"\nmedian and quartiles over {seeds} seeds" if seeds > 1 else ""
    return f"{measure.at} {words(measure.metric)}{over}"
