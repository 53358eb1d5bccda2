"""The picture of schedules, each labelled at its end."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

from fnopt.core.entry import entry
from fnopt.lab.curves import plot_curves
from fnopt.schedule.plot import Shown, evaluated


@entry("plot_schedule(schedule, steps)")
def plot_schedule(
    schedules: Shown | Sequence[Shown] | Mapping[str, Shown],
    steps: int | Any,
    *,
    ylabel: str = "learning rate",
    yscale: str = "linear",
    title: str = "",
    theme: str = "light",
    path: str | os.PathLike | None = None,
) -> Any:
    """Draws schedules over the steps, each labelled at its end.

    Args:
        schedules: a schedule of fnopt or of optax, or any function of the count; a number; several
            in a list, or in a dict from labels to them. In a list the label is what it prints as.
        steps: the number of steps, or an array of counts.
        ylabel: label of the vertical axis.
        yscale: scale of the vertical axis, ``"linear"`` or ``"log"``.
        title: title of the picture.
        theme: ``"light"`` or ``"dark"``.
        path: path of the picture; not saved if None.

    Returns:
        The figure, which a notebook shows.

    Raises:
        ImportError: matplotlib is not installed.
        TypeError: an argument is no schedule.
    """
    curves = {label: (counts, values) for label, counts, values in evaluated(schedules, steps)}
    return plot_curves(curves, ylabel=ylabel, yscale=yscale, title=title, theme=theme, path=path)
