"""The picture of a diagnosis, or of several next to one another."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from fnopt.initialize.faults import LARGE, MOSTLY, Fault

COLUMNS = 3
"""Most panels of a row."""


class Panel(NamedTuple):
    """What one panel draws.

    Attributes:
        title: its title.
        value: what is drawn, a function of the metrics of a layer.
        shown: whether a diagnosis gives reason to draw it.
        limit: the largest value that is no fault; None where there is no such number.
        share: whether the value is a share, from 0 to 1; otherwise the axis is logarithmic.
    """

    title: str
    value: Callable[[Any], float]
    shown: Callable[[Any], bool]
    limit: float | None = None
    share: bool = False


_ENDS = ("tanh", "sigmoid")
PANELS = {
    "std": Panel("std of pre-activation", lambda row: row.std, lambda diagnosis: True),
    "gradient_std": Panel(
        "std of gradient there", lambda row: row.gradient_std, lambda diagnosis: True
    ),
    "saturated": Panel(
        "saturated activations",
        lambda row: row.saturated if row.function in _ENDS else math.nan,
        lambda diagnosis: any(row.function in _ENDS for row in diagnosis.layers),
        MOSTLY,
        share=True,
    ),
    "dead": Panel(
        "dead units",
        lambda row: row.dead,
        lambda diagnosis: any(row.function not in (*_ENDS, "") for row in diagnosis.layers),
        share=True,
    ),
    "distinct": Panel(
        "units that differ",
        lambda row: row.distinct / row.units,
        lambda diagnosis: any("distinct" in fault.metrics for fault in diagnosis.faults),
        share=True,
    ),
    "update": Panel(
        "first update / weights",
        lambda row: row.update,
        lambda diagnosis: any(math.isfinite(row.update) for row in diagnosis.layers),
        LARGE,
    ),
}
"""The panels by the field of the metrics that they draw."""


def draw(diagnoses: Mapping[str, Any], title: str | None = None) -> Any:
    """Draws the metrics of diagnoses by layer, a panel for each.

    Args:
        diagnoses: diagnoses by label. With the label "" alone there is no legend; the layers at
            fault are marked, and the verdict is in the title.
        title: the title of the picture; none if None.

    Returns:
        matplotlib's figure.

    Raises:
        ImportError: matplotlib is not installed.
    """
    from fnopt.core.figure import ShownFigure

    shown = {
        metric: panel
        for metric, panel in PANELS.items()
        if any(panel.shown(diagnosis) for diagnosis in diagnoses.values())
    }
    rows = math.ceil(len(shown) / COLUMNS)
    columns = math.ceil(len(shown) / rows)
    alone = diagnoses.get("") if len(diagnoses) == 1 else None
    heading = [title] if title else []
    if alone is not None:
        heading += [textwrap.fill(line, 42 * columns) for line in verdicts(alone)]
    lines = sum(text.count("\n") + 1 for text in heading)
    figure = ShownFigure(figsize=(3.5 * columns, 3.2 * rows + 0.2 * lines), layout="constrained")
    for number, (metric, panel) in enumerate(shown.items(), 1):
        axes = figure.add_subplot(rows, columns, number)
        for i, (label, diagnosis) in enumerate(diagnoses.items()):
            _draw(axes, panel, diagnosis, label, "os^Dv<>PX*"[i % 10])
        if alone is not None:
            _mark(axes, metric, alone)
        _finish(axes, panel)
    if any(diagnoses):
        handles, labels = figure.axes[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside right center", frameon=False, fontsize=9)
    if heading:
        figure.suptitle("\n".join(heading), fontsize=10 if alone else 11)
    return figure


def verdicts(diagnosis: Any) -> list[str]:
    """The verdict of a diagnosis without the cures: a line for each kind of fault.

    Args:
        diagnosis: the diagnosis; layers are named and numbered from 1, as in the picture.
    """
    lines = []
    for kind in dict.fromkeys(fault.fault for fault in diagnosis.faults):
        faults = [fault for fault in diagnosis.faults if fault.fault == kind]
        at = sorted({i for fault in faults for i in positions(diagnosis, fault)})
        names = [diagnosis.layers[i].layer for i in at]
        says = faults[0].says
        says = f"The first: {says}" if len(faults) > 1 else says[:1].upper() + says[1:]
        named = names[0] if len(at) == 1 else f"{names[0]} … {names[-1]}"
        lines.append(f"{_layers(at)} ({named}): {kind}. {says}.")
    if not lines:
        many = "layer" if len(diagnosis.layers) == 1 else "layers"
        lines.append(f"no fault found in {len(diagnosis.layers)} {many}")
    if diagnosis.unseen:
        lines.append(f"not looked at: {', '.join(diagnosis.unseen)}")
    return lines


def positions(diagnosis: Any, fault: Fault) -> list[int]:
    """The indices of the layers at fault; all from the first to the last of a fault of several."""
    names = [row.layer for row in diagnosis.layers]
    if fault.layer in names:
        return [names.index(fault.layer)]
    first, last = sorted(names.index(name) for name in fault.layer.split(" … "))
    return list(range(first, last + 1))


def _layers(indices: Sequence[int]) -> str:
    """Layers in words, counted from 1: ``layer 2``, ``layers 1-3, 5``."""
    runs: list[list[int]] = []
    for number in (i + 1 for i in indices):
        if runs and runs[-1][-1] == number - 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    words = [f"{run[0]}-{run[-1]}" if len(run) > 1 else f"{run[0]}" for run in runs]
    return f"layer{'s' if len(indices) > 1 else ''} {', '.join(words)}"


def _draw(axes: Any, panel: Panel, diagnosis: Any, label: str, marker: str) -> None:
    if label and not any(row.std for row in diagnosis.layers):
        label += " (all 0)"
    values = np.array([panel.value(row) for row in diagnosis.layers], float)
    if not panel.share:  # a logarithm has no 0
        values = np.where((values > 0) & np.isfinite(values), values, np.nan)
    at = np.arange(1, len(values) + 1)
    axes.plot(at, values, marker=marker, ms=4, lw=1.2, label=label or None)


def _mark(axes: Any, metric: str, diagnosis: Any) -> None:
    """Marks the layers whose fault is seen in this panel, and names those without a point."""
    faults = [fault for fault in diagnosis.faults if metric in fault.metrics]
    for i in sorted({i for fault in faults for i in positions(diagnosis, fault)}):
        axes.axvspan(i + 0.5, i + 1.5, color="tab:red", alpha=0.15, lw=0)
    if faults:
        axes.lines[0].set_color("tab:red")
    panel = PANELS[metric]
    if panel.share:
        return
    values = np.array([panel.value(row) for row in diagnosis.layers], float)
    kinds = {"0": values == 0, "not finite": ~np.isfinite(values)}
    notes = [
        f"{what} in {_layers(np.flatnonzero(there).tolist())}"
        for what, there in kinds.items()
        if there.any()
    ]  # where a logarithmic axis has no place for them
    if notes:
        words = {"ha": "center", "va": "bottom", "transform": axes.transAxes}
        axes.text(0.5, 0.03, "\n".join(notes), fontsize=9, color="dimgray", **words)


def _finish(axes: Any, panel: Panel) -> None:
    from matplotlib.ticker import MaxNLocator, PercentFormatter

    axes.set_title(panel.title, fontsize=10)
    axes.set_xlabel("layer")
    axes.set_xlim(0.5, max(len(line.get_xdata()) for line in axes.lines) + 0.5)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=10, min_n_ticks=1))
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    if panel.share:
        axes.set_ylim(-0.03, 1.03)
        axes.yaxis.set_major_formatter(PercentFormatter(1.0))
    else:
        _logarithmic(axes)
    if panel.limit is not None:
        axes.axhline(panel.limit, color="gray", lw=1, ls="--")


def _logarithmic(axes: Any) -> None:
    """A logarithmic axis of two decades at least, so that small changes look small."""
    drawn = np.concatenate([line.get_ydata() for line in axes.lines])
    drawn = drawn[np.isfinite(drawn)]
    if not drawn.size:
        axes.set_yticks([])
        return
    axes.set_yscale("log")
    low, high = np.log10(drawn.min()), np.log10(drawn.max())
    room = max(0.0, 2 - (high - low)) / 2 + 0.1 + 0.04 * (high - low)
    axes.set_ylim(10 ** (low - room), 10 ** (high + room))
