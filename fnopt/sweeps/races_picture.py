"""The picture of races on several problems: losses with quartiles over the starts."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from fnopt.lab.curves import plot_curves
from fnopt.lab.race_result import Race
from fnopt.lab.race_tracks import loss_range, title_of_losses, tracks
from fnopt.lab.style import theme_of

SIZE = (4.6, 3.2)
"""Size of a panel in inches."""
COLUMNS = 3
"""Most panels side by side."""


def plot_races(
    names: Sequence[str],
    races: Sequence[Race],
    path: str | os.PathLike | None,
    theme: str,
    title: str,
) -> Any:
    """Draws a panel for each problem; see :meth:`fnopt.sweeps.Races.plot`.

    Args:
        names: the labels of the problems.
        races: the race on each.
        path: path of the picture; not saved if None.
        theme: ``"light"`` or ``"dark"``.
        title: title of the picture.
    """
    from fnopt.core.figure import ShownFigure, save

    colors = theme_of(theme)
    rows = math.ceil(len(races) / COLUMNS)
    columns = math.ceil(len(races) / rows)
    size = SIZE[0] * columns, SIZE[1] * rows
    figure = ShownFigure(figsize=size, dpi=100, layout="constrained")
    figure.set_facecolor(colors.background)
    panels = figure.subplots(rows, columns, squeeze=False)
    for axes in panels.flat[len(races) :]:
        axes.set_axis_off()
    for name, race, axes in zip(names, races, panels.flat, strict=False):
        drawn = tracks(race)
        limits, logarithmic = loss_range(race.problem, drawn)
        plot_curves(
            {track.name: np.maximum(track.losses[track.best], limits[0]) for track in drawn},
            ylabel=_words(race) if axes in panels[:, 0] else "",
            yscale="log" if logarithmic else "linear",
            ylim=limits,
            title=name,
            theme=theme,
            axes=axes,
        )
        axes.yaxis.label.set_size(10)
    if title:
        figure.suptitle(title, color=colors.ink)
    if path is not None:
        save(figure, path, 120)
    return figure


def _words(race: Race) -> str:
    """What the curves are, on two lines."""
    loss, _, median = title_of_losses(race).partition(", median of ")
    return f"{loss}\nmedian, quartiles of {median}" if median else loss
