"""The picture of the noise of gradients."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from fnopt.lab.curves import plot_curves


def plot_noise(
    records: Sequence[Any],
    batch_size: int | None,
    title: str,
    theme: str,
    path: str | os.PathLike | None,
) -> Any:
    """Draws records of noise; see :meth:`GradientNoiseRecorder.plot`.

    Args:
        records: the records, one or more.
        batch_size: the batch size of the run; None for no line.
        title: title above it.
        theme: ``"light"`` or ``"dark"``.
        path: path of the picture; not saved if None.
    """
    from fnopt.core.figure import ShownFigure, save

    epochs = np.array([record.epoch for record in records])
    scale = np.array([record.noise.scale for record in records])
    parts = {
        "tr Σ, the noise of one example": [record.noise.trace for record in records],
        "|G|², the gradient": [record.noise.squared_norm for record in records],
    }
    if not np.isfinite(scale).any():
        raise ValueError(
            "GradientNoiseRecorder.plot: the gradient is smaller than the noise of its estimate at"
            " every record; give more data"
        )
    figure = ShownFigure(figsize=(7.2, 5.4), layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=(1.4, 1))
    shown = {label: (epochs, np.array(x)) for label, x in parts.items() if max(x) > 0}
    lines = {} if batch_size is None else {f"batch size {batch_size}": float(batch_size)}
    common: dict[str, Any] = {"yscale": "log", "theme": theme}
    plot_curves(
        {"noise scale": (epochs, scale)},
        axes=above, references=lines, ylabel="examples", xlabel="", title=title, **common,
    )  # fmt: skip
    plot_curves(shown, axes=below, ylabel="squared norm", xlabel="epoch", **common)
    if path is not None:
        save(figure, path, 120)
    return figure
