"""``fnopt plot``: pictures of the logs that training leaves, and of schedules."""

from __future__ import annotations

import glob
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from fnopt.cli.optimizer import SCHEDULES
from fnopt.cli.options import PlotOptions
from fnopt.cli.run_log import Records, read_log
from fnopt.cli.usage import UsageError
from fnopt.core import did_you_mean
from fnopt.core.checks import brief, positive_integer
from fnopt.lab.curves import plot_curves
from fnopt.lab.schedules import plot_schedule
from fnopt.train.summaries import NO_METRICS

SUFFIXES = (".png", ".svg", ".pdf")
"""Suffixes of pictures."""


def plot(options: PlotOptions) -> None:
    """Draws what the options name, and prints where the picture is.

    Raises:
        UsageError: there is nothing to draw, or a file, a metric or a schedule is not there.
        ValueError: an option is out of its range.
    """
    words = list(options.what)
    if options.out and options.out.suffix.lower() not in SUFFIXES:
        raise UsageError(
            f"--out must end in {', '.join(SUFFIXES[:-1])} or {SUFFIXES[-1]}, got"
            f" {brief(str(options.out))}"
        )
    if not words:
        raise UsageError(
            "plot needs logs, as in fnopt plot out/digits.jsonl, or names of schedules, as in"
            " fnopt plot schedule cosine"
        )
    if words[0] == "schedule":
        path = options.out or Path("schedule.png")
        _plot_schedules(words[1:], options, path)
    else:
        path = options.out or Path("curves.png")
        _plot_logs(words, options, path)
    print(f"picture: {path}")


def _plot_schedules(names: Sequence[str], options: PlotOptions, path: Path) -> None:
    if not names:
        raise UsageError(f"plot schedule needs names; there are {', '.join(SCHEDULES)}")
    for name in names:
        if name not in SCHEDULES:
            raise UsageError(f"no schedule {name!r}; {did_you_mean(name, SCHEDULES)}")
    steps = positive_integer("steps", options.steps)
    schedules = {name: SCHEDULES[name](options.learning_rate, steps) for name in names}
    # One more than the run has steps: where they end is seen.
    plot_schedule(schedules, steps + 1, title=options.title or "", theme=options.theme, path=path)


def _plot_logs(words: Sequence[str], options: PlotOptions, path: Path) -> None:
    runs = {label: [read_log(file) for file in files] for label, files in _files(words).items()}
    metric = options.metric
    everything = [record for logs in runs.values() for log in logs for record in log]
    known = {
        name for record in everything for name in record.values if name not in ("epoch", "step")
    }
    if metric not in known:
        raise UsageError(f"no metric {metric!r} in these logs; {did_you_mean(metric, known)}")
    by = options.by or (
        "epoch" if all("epoch" in record.values for record in everything) else "step"
    )
    curves = {label: _curve(label, logs, metric, by) for label, logs in runs.items()}
    if options.yscale:
        yscale = options.yscale
    else:
        values = np.concatenate([values[np.isfinite(values)] for _, values in curves.values()])
        loss = metric not in NO_METRICS and metric.endswith("loss")
        wide = values.size > 0 and values.min() > 0 and values.max() / values.min() >= 5
        yscale = "log" if loss and wide else "linear"
    plot_curves(
        curves, xlabel=by, ylabel=metric.replace("_", " "), yscale=yscale,
        title=options.title or "", theme=options.theme, path=path,
    )  # fmt: skip


def _files(words: Sequence[str]) -> dict[str, list[str]]:
    """The files of each curve by its label; those without a label are labelled by their names.

    Args:
        words: paths, or ``LABEL=PATH``, where a path may have ``*`` for any text.
    """
    labelled: dict[str, list[str]] = {}
    alone: list[str] = []
    for word in words:
        label, equals, pattern = word.partition("=")
        if not equals or os.path.exists(word):
            label, pattern = "", word
        paths = sorted(glob.glob(pattern)) or [pattern]
        if label:
            labelled.setdefault(label, []).extend(paths)
        else:
            alone += paths
    return dict(zip(_names(alone), ([file] for file in alone), strict=True)) | labelled


def _names(files: Sequence[str]) -> list[str]:
    """Labels of files: their paths without the folders and the name that all of them share."""
    parts = [Path(os.path.splitext(file)[0]).parts for file in files]
    for end in (0, -1):
        while min(map(len, parts), default=0) > 1 and len({part[end] for part in parts}) == 1:
            parts = [part[1:] if end == 0 else part[:-1] for part in parts]
    return ["/".join(part) for part in parts]


def _curve(label: str, logs: Sequence[Records], metric: str, by: str) -> Any:
    """The places and the values of a curve, with a row for each log, NaN where it has none.

    Raises:
        UsageError: a log does not have the metric, or it is no number there.
    """
    rows = []
    for log in logs:
        row = {
            record.number(by): np.nan if record.values[metric] is None else record.number(metric)
            for record in log
            if metric in record.values and record.values.get(by) is not None
        }
        if not row:
            raise UsageError(f"the log of {label!r} has no {metric} by {by}")
        rows.append(row)
    at = sorted({place for row in rows for place in row})
    return np.array(at), np.array([[row.get(place, np.nan) for place in at] for row in rows])
