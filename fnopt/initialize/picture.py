"""The picture of a diagnosis, or of several next to one another."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np


def draw(diagnoses: Mapping[str, Any], title: str | None = None) -> Any:
    """Draws standard deviations of pre-activations and gradients, and dead units, by layer.

    Args:
        diagnoses: diagnoses by label; with the label "" alone there is no legend.
        title: the title of the picture; none if None.

    Returns:
        matplotlib's figure.

    Raises:
        ImportError: matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
        from matplotlib.ticker import MaxNLocator, PercentFormatter
    except ImportError as error:
        raise ImportError("pictures need matplotlib: pip install 'fnopt[lab]'") from error
    figure = Figure(figsize=(10.5, 3.6), layout="constrained")
    panels = figure.subplots(1, 3)
    metrics = ("std", "gradient_std", "dead")
    names = ("std of pre-activation", "std of gradient there", "dead units")
    markers = "os^Dv<>PX*"
    for number, (label, diagnosis) in enumerate(diagnoses.items()):
        if label and not any(row.std for row in diagnosis.layers):
            label += " (all 0)"
        at = np.arange(1, len(diagnosis.layers) + 1)
        for axes, metric in zip(panels, metrics, strict=True):
            values = np.array([getattr(row, metric) for row in diagnosis.layers], float)
            if metric != "dead":  # a logarithm has no 0
                values = np.where(values > 0, values, np.nan)
            marker = markers[number % len(markers)]
            axes.plot(at, values, marker=marker, ms=4, lw=1.2, label=label or None)
    for axes, metric, name in zip(panels, metrics, names, strict=True):
        axes.set_title(name, fontsize=10)
        axes.set_xlabel("layer")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=10))
        axes.grid(alpha=0.25)
        axes.spines[["top", "right"]].set_visible(False)
        if metric == "dead":
            axes.set_ylim(-0.03, 1.03)
            axes.yaxis.set_major_formatter(PercentFormatter(1.0))
        else:
            axes.set_yscale("log")
            _whole_decades(axes)
    if any(diagnoses):
        handles, labels = panels[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside right center", frameon=False, fontsize=9)
    if title:
        figure.suptitle(title, fontsize=11)
    return figure


def _whole_decades(axes: Any) -> None:
    """Shows at least two decades, so that small changes look small."""
    drawn = np.concatenate([line.get_ydata() for line in axes.lines])
    drawn = drawn[np.isfinite(drawn)]
    if drawn.size:
        low, high = np.log10(drawn.min()), np.log10(drawn.max())
        room = max(0.0, 2 - (high - low)) / 2 + 0.1
        axes.set_ylim(10 ** (low - room), 10 ** (high + room))
