"""The picture of a sweep that shows what varies in it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np

from fnopt.core.checks import brief, one_of
from fnopt.lab.curves import plot_curves
from fnopt.lab.style import theme_of
from fnopt.sweeps.best import check_any_finite
from fnopt.sweeps.curves import curves_of
from fnopt.sweeps.entrants import OPTIMIZER, Runs, by_entrant, check_names, values_of, varying
from fnopt.sweeps.heat_map import draw_heat_map
from fnopt.sweeps.measure import Measure
from fnopt.sweeps.scales import is_wide, whole_ticks, words
from fnopt.sweeps.texts import is_number
from fnopt.sweeps.value_picture import draw_values

Kind = Literal["values", "heat map", "curves"]
KINDS = ("values", "heat map", "curves")
FEW = 5
"""Entrants whose curves are drawn."""
LINES = 8
"""Most lines that are drawn by default, as many as there are colours."""
NARROW = 4
"""A hyperparameter of at most so many values is one of lines; of more, one of a heat map."""


def plot(
    runs: Runs,
    measure: Measure,
    kind: str | None,
    names: Sequence[str] | None,
    path: str | os.PathLike | None,
    theme: str,
    title: str,
) -> Any:
    """Draws a sweep; see :meth:`fnopt.sweeps.Sweep.plot`.

    Args:
        runs: the runs.
        measure: what they are judged by.
        kind: one of ``KINDS``; None for what suits the sweep.
        names: names of one or two hyperparameters; None for what suits the sweep.
        path: path of the picture; not saved if None.
        theme: ``"light"`` or ``"dark"``.
        title: title of the picture.
    """
    one_of(f"{measure.caller}: kind", kind, (None, *KINDS))
    theme_of(theme)
    check_any_finite(runs, measure)
    if names is not None:
        check_names(measure.caller, names, runs)
        if not 1 <= len(names) <= 2:
            raise ValueError(f"{measure.caller}: by must have one name or two, got {brief(names)}")
    kind = kind or kind_for(runs, names)
    if kind == "curves":
        if names is not None:
            raise ValueError(
                f"{measure.caller}: by={brief(names)} is of kind 'values' and 'heat map'; curves"
                " are over the epochs"
            )
        return _draw_curves(runs, measure, path, theme, title)
    x, other = axes_for(runs, kind, names)
    if kind == "heat map":
        if other is None:
            raise ValueError(
                f"{measure.caller}: a heat map needs two hyperparameters that vary, and here"
                f" {', '.join(varying(runs)) or 'none'} does; take kind='values' or 'curves'"
            )
        return draw_heat_map(runs, measure, (x, other), path, theme, title)
    return draw_values(runs, measure, x, other, path, theme, title)


def kinds_for(runs: Runs) -> list[Kind]:
    """The kinds of pictures that show what varies in a sweep.

    Args:
        runs: the runs.
    """
    best = kind_for(runs, None)
    kinds: list[Kind] = [best, "values", "curves"]
    return ["curves"] if best == "curves" else list(dict.fromkeys(kinds))


def kind_for(runs: Runs, names: Sequence[str] | None) -> Kind:
    """The kind of picture that suits what varies in a sweep.

    Args:
        runs: the runs.
        names: names of hyperparameters that are to be drawn; None if none were named.
    """
    vary = varying(runs)
    if names is not None:
        counts = [len(values_of(runs, name)) for name in names]
        return "heat map" if len(names) == 2 and min(counts) > LINES else "values"
    if not [name for name in vary if name != OPTIMIZER]:
        return "curves"
    numbers = _numbers(runs, vary)
    if OPTIMIZER in vary or len(numbers) < 2:
        return "values"
    counts = sorted((len(values_of(runs, name)) for name in numbers), reverse=True)
    return "heat map" if counts[1] > NARROW else "values"


def axes_for(runs: Runs, kind: str, names: Sequence[str] | None) -> tuple[str, str | None]:
    """Names of what is drawn horizontally, and of what lines or the vertical axis are of.

    Args:
        runs: the runs.
        kind: ``"values"`` or ``"heat map"``.
        names: names that were given, at most two; None for what suits the sweep.
    """
    vary = varying(runs)
    numbers = _numbers(runs, vary)
    others = [name for name in vary if name not in (OPTIMIZER, *numbers)]
    counts = {name: len(values_of(runs, name)) for name in vary}
    by_count = sorted(numbers, key=lambda name: -counts[name])
    rates = [name for name in numbers if name.endswith("learning_rate")]
    order = list(dict.fromkeys([*rates, *by_count, *others, OPTIMIZER]))
    if names is None:
        x, rest = order[0], order[1:]
    elif len(names) == 2:
        return names[0], names[1]
    else:
        x, rest = names[0], [name for name in order if name != names[0]]
    if kind == "heat map":
        return x, next((name for name in rest if name in vary), None)
    if OPTIMIZER in rest and OPTIMIZER in vary:
        return x, OPTIMIZER
    return x, next((name for name in rest if name in vary and counts[name] <= LINES), None)


def _numbers(runs: Runs, names: Sequence[str]) -> list[str]:
    return [name for name in names if all(map(is_number, values_of(runs, name)))]


def _draw_curves(
    runs: Runs, measure: Measure, path: str | os.PathLike | None, theme: str, title: str
) -> Any:
    """The curves of the best entrants, of those that have a finite value."""
    from fnopt.core.figure import save

    finite = [
        group
        for group in by_entrant(runs)
        if any(np.isfinite(measure.curve(run)).any() for run in group)
    ]
    curves = curves_of([run for group in finite for run in group], measure)
    shown = dict(list(curves.items())[:FEW])
    several = len(curves) > FEW
    values = np.concatenate([values.ravel() for _, values in shown.values()])
    figure = plot_curves(
        shown,
        xlabel="epoch" + (f"\nthe best {FEW} of {len(curves)}" if several else ""),
        ylabel=words(measure.metric),
        yscale="log" if is_wide(measure.metric, values) else "linear",
        title=title,
        theme=theme,
    )
    whole_ticks(figure.axes[0].xaxis)
    if path is not None:
        save(figure, path, 120)
    return figure
