"""Pictures of a run's history."""

from __future__ import annotations

import math
import os
from numbers import Real
from typing import Any, NamedTuple

import numpy as np

from fnopt.train.summaries import NO_METRICS

COLUMNS = 4
"""Most panels of a row."""
Records = list[dict[str, Any]]
_STEPS = [1, 2, 5, 10]
_WORDS = {"val": "validation"}


class Curve(NamedTuple):
    """A metric to draw.

    Attributes:
        label: the data that it was measured on.
        at: epochs or steps.
        values: its values there; NaN where there are none.
    """

    label: str
    at: np.ndarray
    values: np.ndarray


def plot_history(
    records: Records, evaluations: Records, path: str | os.PathLike | None, title: str
) -> Any:
    """Draws the records of a history; see :meth:`History.plot`.

    Args:
        records: the records of epochs.
        evaluations: the records of evaluations between them; empty where each ends an epoch.
        path: path of the picture; not saved if None.
        title: title above it.
    """
    from fnopt.core.figure import ShownFigure, save

    panels = panels_of(records, evaluations)
    if not panels:
        raise ValueError("History.plot: nothing is recorded yet; there is a record after an epoch")
    rows = math.ceil(len(panels) / COLUMNS)
    columns = math.ceil(len(panels) / rows)
    figure = ShownFigure(figsize=(4.2 * columns, 3.3 * rows), layout="constrained")
    first = None
    for number, (name, curves) in enumerate(panels.items(), 1):
        axes = figure.add_subplot(rows, columns, number, sharex=first)
        first = first or axes
        _draw(axes, name, curves)
        axes.set_xlabel("step" if evaluations else "epoch")
    if title:
        figure.suptitle(title)
    if path is not None:
        save(figure, path, 120)
    return figure


def panels_of(records: Records, evaluations: Records) -> dict[str, list[Curve]]:
    """The curves of each panel, by the name of the metric.

    Args:
        records: the records of epochs.
        evaluations: the records of evaluations between them; empty where each ends an epoch.
    """
    x = "step" if evaluations else "epoch"
    # With ``eval_every`` the record of an epoch repeats the last evaluation.
    evaluated = evaluations or records
    prefixes = evaluation_prefixes({name for record in evaluated for name in record})
    metrics = dict.fromkeys(["loss"])
    for record in [*evaluated, *records]:
        for name in record:
            prefix = max((p for p in prefixes if name.startswith(p)), key=len, default="")
            if name not in NO_METRICS:
                metrics[name.removeprefix(prefix)] = None
    panels: dict[str, list[Curve]] = {}
    for metric in (*metrics, "learning_rate"):
        curves = [_curve("training", records, x, metric)]
        for prefix in prefixes:
            label = prefix.removesuffix("_")
            curves.append(_curve(_WORDS.get(label, label), evaluated, x, prefix + metric))
        panels[metric] = [curve for curve in curves if curve.at.size]
    return {metric: curves for metric, curves in panels.items() if curves}


def evaluation_prefixes(names: set[str]) -> list[str]:
    """The prefixes of the sets that were evaluated, ``"val_"`` first.

    Every set has a loss, whose name ends its prefix; a metric such as ``rank_loss`` has one too,
    but then the sets have it as well: ``val_rank_loss``.

    Args:
        names: names of the metrics of a record.
    """
    ends = {name.removesuffix("loss") for name in names if name.endswith("_loss")}
    metrics = {end for end in ends if any(other + end + "loss" in names for other in ends - {end})}
    inner = {other + end for end in metrics for other in ends}
    return sorted(ends - metrics - inner, key=lambda prefix: (prefix != "val_", prefix))


def _curve(label: str, records: Records, x: str, name: str) -> Curve:
    points = [(record[x], record[name]) for record in records if name in record and x in record]
    numbers = [(at, value) for at, value in points if isinstance(value, Real)]
    at, values = np.array(numbers, float).reshape(-1, 2).T
    return Curve(label, at, values)


def _draw(axes: Any, name: str, curves: list[Curve]) -> None:
    from matplotlib.ticker import MaxNLocator

    for curve in curves:
        few = curve.at.size <= 20
        marker = "o" if few else ""
        axes.plot(curve.at, curve.values, marker=marker, markersize=4, label=curve.label)
    axes.set_title(name.replace("_", " "))
    axes.xaxis.set_major_locator(MaxNLocator(nbins=6, steps=_STEPS, integer=True, min_n_ticks=1))
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    if len(curves) > 1:
        axes.legend(frameon=False)
    values = np.concatenate([curve.values for curve in curves])
    values = values[np.isfinite(values)]
    if values.size:
        _scale(axes, values.min(), values.max(), logarithmic=name == "loss")
    else:
        axes.set_yticks([])
        words = {"ha": "center", "va": "center", "transform": axes.transAxes}
        axes.text(0.5, 0.5, "no finite value", **words)


def _scale(axes: Any, low: float, high: float, *, logarithmic: bool) -> None:
    """Sets the ticks: plain numbers, and at least two of them on a logarithmic axis."""
    from fnopt.core.ticks import number_ticks

    logarithmic = logarithmic and low > 0 and high / low >= 5
    number_ticks(axes.yaxis, low, high, logarithmic=logarithmic)
    if not logarithmic:
        single = all(line.get_xdata().size == 1 for line in axes.lines)
        if single or high - low <= 1e-6 * abs(high):  # else a small difference would fill the axis
            room = max(abs(low), abs(high)) / 4 or 0.5
            axes.set_ylim(low - room, high + room)
