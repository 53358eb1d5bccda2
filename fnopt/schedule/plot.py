"""Pictures of schedules."""

from __future__ import annotations

import os
import textwrap
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import jax
import numpy as np

from fnopt.core import Schedule, as_schedule
from fnopt.core.checks import brief
from fnopt.core.entry import entry

Shown: TypeAlias = Schedule | Callable[[Any], Any] | float


@entry("fnopt.plot(schedule, steps)")
def plot(
    schedules: Shown | Sequence[Shown] | Mapping[str, Shown],
    steps: int | np.ndarray,
    path: str | os.PathLike | None = None,
    *,
    axes: Any = None,
) -> Any:
    """Draws schedules over the count of updates; ``fnopt.lab.plot_schedule`` labels them directly.

    Args:
        schedules: a schedule, several in a list or a tuple, or a dict from labels to them; numbers
            and any callables are accepted. Without a label a schedule is called as it prints.
        steps: the number of updates, or an array of counts.
        path: path of the picture; not saved if None.
        axes: matplotlib's axes to draw on; those of a new figure if None.

    Returns:
        The axes, which a notebook shows; ``axes.figure`` is the figure.

    Raises:
        ImportError: matplotlib is not installed.
        TypeError: an argument is no schedule.
    """
    if axes is None:
        from fnopt.core.figure import ShownAxes, ShownFigure

        figure = ShownFigure(figsize=(6.4, 3.6), layout="constrained")
        axes = figure.add_subplot(axes_class=ShownAxes)
    for label, counts, values in evaluated(schedules, steps):
        axes.plot(counts, values, label=textwrap.fill(label, 80, break_long_words=False))
    axes.set(xlabel="updates", ylabel="value")
    axes.grid(alpha=0.3)
    # Above the picture: a schedule that prints long would cover it.
    axes.legend(fontsize="small", loc="lower left", bbox_to_anchor=(0.0, 1.0))
    if path is not None:
        from fnopt.core.figure import save

        save(axes.figure.canvas.figure, path, 120)
    return axes


def evaluated(schedules: Any, steps: Any) -> list[tuple[str, np.ndarray, np.ndarray]]:
    """The label, the counts and the values of each schedule; the arguments are :func:`plot`'s."""
    counts = np.arange(int(steps)) if np.ndim(steps) == 0 else np.asarray(steps)
    return [
        (label, counts, np.asarray(jax.vmap(schedule)(counts)))
        for label, schedule in _labelled(schedules)
    ]


def _labelled(schedules: Any) -> list[tuple[str, Schedule]]:
    if isinstance(schedules, str):
        raise TypeError(
            f"plot: {brief(schedules, 40)} is no schedule but text; pass one, such as"
            " fnopt.cosine_decay_schedule(1.0, 100); fnopt.schedules() lists them"
        )
    if isinstance(schedules, Mapping):
        return [(str(label), as_schedule(one)) for label, one in schedules.items()]
    several = schedules if isinstance(schedules, (list, tuple)) else [schedules]
    return [(repr(one), one) for one in map(as_schedule, several)]
