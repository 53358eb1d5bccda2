"""The picture of a spectrum along a run."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from fnopt.core.figure import ShownFigure, save

_DECADES = 2
"""Decades below the largest eigenvalue, at least: what is nearer to 0 is on a linear axis."""
_ROWS = 400
_WIDTH = 0.12
"""Standard deviation in which an eigenvalue is drawn, in decades."""


def plot_spectra(records: Sequence[Any], path: str | os.PathLike | None, title: str) -> Any:
    """Draws records of a spectrum; see :meth:`SpectrumRecorder.plot`.

    Args:
        records: the records, one or more.
        path: path of the picture; not saved if None.
        title: title above it.
    """
    from matplotlib.colors import LogNorm
    from matplotlib.ticker import FixedLocator, MaxNLocator

    figure = ShownFigure(figsize=(9.6, 5.6), layout="constrained")
    panels = figure.subplots(2, 2, sharex="col", width_ratios=(2.2, 1), height_ratios=(1, 2.4))
    (top, corner), (along, shares) = panels
    corner.set_axis_off()
    shares.sharey(along)
    shares.tick_params(labelleft=False)
    finite = [record for record in records if np.isfinite(record.density.nodes).all()]
    nodes = np.concatenate([record.density.nodes.ravel() for record in finite] or [np.ones(1)])
    linear = 10.0 ** (np.floor(np.log10(np.abs(nodes).max() or 1.0)) - _DECADES)
    along.set_yscale("symlog", linthresh=linear)
    axis = _Decades(along.yaxis.get_transform(), linear)
    low, high = axis.of(np.array([nodes.min(), nodes.max()]))
    rows = np.linspace(low - 5 * _WIDTH, high + 5 * _WIDTH, _ROWS)
    eigenvalues = axis.inverse(rows)
    if finite:
        epochs = np.array([record.epoch for record in finite])
        curves = np.stack([_density(axis, record.density, rows) for record in finite])
        floor = curves.max() * 1e-5
        image = along.pcolormesh(
            _edges(epochs), axis.inverse(_edges(rows)), np.maximum(curves, floor).T,
            norm=LogNorm(floor, curves.max()), cmap="Greys", rasterized=True,
        )  # fmt: skip
        figure.colorbar(image, ax=shares, label="share of eigenvalues by decade")
        chosen = sorted({0, len(finite) // 2, len(finite) - 1})
        for i, color in zip(chosen, _OF_EPOCHS, strict=False):
            shares.plot(curves[i], eigenvalues, color=color, label=f"epoch {epochs[i]}")
        shares.set(xscale="log", xlim=(floor, 2 * curves.max()))
        labelled = shares.get_legend_handles_labels()
        corner.legend(*labelled, frameon=False, fontsize="small", loc="lower left")
        _draw_extremes(top, finite, ["largest"])
        _draw_extremes(along, finite, ["largest", "smallest"])
        along.legend(frameon=False, fontsize="small", loc="lower right")
    decades = 10.0 ** np.arange(round(np.log10(linear)), 300)
    decades = decades[decades <= max(np.abs(eigenvalues))]
    along.yaxis.set_major_locator(FixedLocator([*-decades[::-1], 0, *decades]))
    along.set(xlabel="epoch", ylabel="eigenvalue", ylim=tuple(eigenvalues[[0, -1]]))
    along.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True, min_n_ticks=1))
    shares.set_xlabel("share by decade")
    top.set_ylabel("largest")
    for axes in (top, along, shares):
        axes.grid(alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
    if title:
        figure.suptitle(title)
    if path is not None:
        save(figure, path, 120)
    return figure


# Those of fnopt.lab, which colour-blind people can tell apart.
_COLORS = {"largest": "#D55E00", "smallest": "#0072B2"}
_OF_EPOCHS = ("#56B4E9", "#E69F00", "#009E73")


def _draw_extremes(axes: Any, records: Sequence[Any], names: Sequence[str]) -> None:
    """Lines of the largest or of the smallest eigenvalues by epoch."""
    epochs = [record.epoch for record in records]
    marker = "o" if len(records) <= 20 else ""
    for name in names:
        lines = np.array([getattr(record, name) for record in records]).T
        for i, line in enumerate(lines):
            axes.plot(
                epochs, line, color=_COLORS[name], linewidth=1.2, marker=marker, markersize=3,
                label=name if i == 0 else None,
            )  # fmt: skip


class _Decades:
    """The places of numbers on an axis of which a decade has length 1, and one of linear numbers.

    Args:
        transform: matplotlib's transform of that axis, whose unit is the linear part.
        linear: the length of the linear part on either side of 0.
    """

    def __init__(self, transform: Any, linear: float) -> None:
        self.transform, self.linear = transform, linear

    def of(self, numbers: np.ndarray) -> np.ndarray:
        return self.transform.transform(numbers) / self.linear

    def inverse(self, places: np.ndarray) -> np.ndarray:
        return self.transform.inverted().transform(places * self.linear)


def _density(axis: _Decades, density: Any, rows: np.ndarray) -> np.ndarray:
    """The share of eigenvalues by decade of the axis, at places of it."""
    nodes, weights = axis.of(density.nodes.ravel()), density.weights.ravel()
    heights = np.exp(-0.5 * ((rows[:, None] - nodes) / _WIDTH) ** 2)
    return heights @ weights / (len(density.nodes) * _WIDTH * np.sqrt(2 * np.pi))


def _edges(centres: np.ndarray) -> np.ndarray:
    """The edges of cells around points in order."""
    if len(centres) == 1:
        return centres[0] + np.array([-0.5, 0.5])
    middle = (centres[1:] + centres[:-1]) / 2
    return np.concatenate([[2 * centres[0] - middle[0]], middle, [2 * centres[-1] - middle[-1]]])
