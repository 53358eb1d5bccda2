"""What ``choice.py`` measured, as tables and as a picture."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

Record = dict[str, Any]


class Result(NamedTuple):
    """A method on a task.

    Attributes:
        rate: the rate with the best score at the end, as a mean over seeds; None without rates.
        scores: the scores of the seeds at that rate.
        steps: median steps to the target at each rate; None where a seed does not reach it.
        fastest: the rate at which they are fewest; None where there is none.
        gradients: median gradients to the target at that rate, a product with curvature as two.
    """

    rate: float | None
    scores: list[float]
    steps: list[float | None]
    fastest: int | None
    gradients: float | None


def median(values: Sequence[float | None]) -> float | None:
    """The median of what all seeds needed; None where one did not get there."""
    known = [x for x in values if x is not None]
    return statistics.median(known) if len(known) == len(values) else None


def result(record: Record, score: str) -> Result:
    by_rate = list(zip(*record["final"][score], strict=True))
    sign = -1 if score == "accuracy" else 1
    means = [math.inf if None in seeds else sign * statistics.fmean(seeds) for seeds in by_rate]
    best = means.index(min(means))
    steps = [median(seeds) for seeds in zip(*record["steps"], strict=True)]
    reached = {i: x for i, x in enumerate(steps) if x is not None}
    fastest = min(reached, key=reached.__getitem__) if reached else None
    gradients = list(zip(*record["gradients"], strict=True))
    return Result(
        record["rates"] and record["rates"][best],
        list(by_rate[best]),
        steps,
        fastest,
        None if fastest is None else median(gradients[fastest]),
    )


def tasks_of(records: Sequence[Record]) -> dict[str, Record]:
    return {r["task"]: r["about"] for r in records if "about" in r}


def results(records: Sequence[Record]) -> dict[str, dict[str, Result]]:
    """By task and method, in the order of the log."""
    tasks = tasks_of(records)
    found: dict[str, dict[str, Result]] = {task: {} for task in tasks}
    for record in records:
        if "method" in record:
            task = record["task"]
            found[task][record["method"]] = result(record, tasks[task]["score"])
    return found


def number(x: float | None, digits: int = 0) -> str:
    return "" if x is None else f"{x:.{digits}f}"


def report(records: Sequence[Record]) -> list[str]:
    """Tables in Markdown, one of each task."""
    lines = []
    tasks = tasks_of(records)
    for task, by_method in results(records).items():
        about = tasks[task]
        steps = about["every"] * about["evaluations"]
        kind = "accuracy" if about["score"] == "accuracy" else "loss"
        lines += [
            f"**{about['title']}**, {steps} steps, target: {kind} {about['target']:.4g}",
            "",
            f"| method | best rate | {kind} at the end | steps | gradients | rates |",
            "| --- | --- | --- | --- | --- | --- |",
        ]
        for name, found in by_method.items():
            scale, digits = (100, 1) if kind == "accuracy" else (1, 5)
            fewest = found.steps[found.fastest] if found.fastest is not None else None
            reached = sum(x is not None for x in found.steps)
            cells = [
                name,
                f"{found.rate:.2g}" if found.rate else "none to tune",
                spread(found.scores, scale, digits),
                number(fewest),
                number(found.gradients),
                f"{reached} of {len(found.steps)}" if found.rate else "",
            ]
            lines.append(f"| {' | '.join(cells)} |")
        lines.append("")
    return lines


WITHIN = 0.02
"""Accuracy below the best of all methods that still counts as good."""
STATES = {"momentum": "heavy_ball", "nesterov": "heavy_ball"}
"""Names by which the registry knows the state of a method."""


def within(records: Sequence[Record], task: str) -> dict[str, int]:
    """The number of rates at which the accuracy at the end is near the best of all methods."""
    means = {
        r["method"]: [
            0.0 if None in seeds else statistics.fmean(seeds)
            for seeds in zip(*r["final"]["accuracy"], strict=True)
        ]
        for r in records
        if r.get("task") == task and "method" in r
    }
    bar = max(map(max, means.values())) - WITHIN
    return {name: sum(x >= bar for x in by_rate) for name, by_rate in means.items()}


def summary(records: Sequence[Record]) -> list[str]:
    """A table of all methods, for ``docs/which_optimizer.md``."""
    from fnopt.registry import state_bytes

    by_task, tasks = results(records), tasks_of(records)
    times = {k: v for r in records for k, v in r.get("step_milliseconds", {}).items()}
    networks = [task for task, about in tasks.items() if about["score"] == "accuracy"]
    near = {task: within(records, task) for task in networks}
    names = dict.fromkeys(name for found in by_task.values() for name in found)
    heads = ["method", "bytes", "ms a step"]
    for task in networks:
        heads += [f"{task}: accuracy, %", "good rates of 10"]
    heads += [f"{task.replace('_', ' ')}: steps" for task in tasks if task not in networks]
    lines = [f"| {' | '.join(heads)} |", "|" + " --- |" * len(heads)]
    for name in names:
        held = state_bytes(STATES.get(name, name))
        cells = [name, f"{held:.2g}", number(min(times[name]) if name in times else None, 2)]
        for task, found in by_task.items():
            one = found.get(name)
            if task in networks:
                scores = [100 * x for x in one.scores] if one else []
                cells.append(
                    f"{statistics.fmean(scores):.1f} ± {statistics.stdev(scores):.1f}"
                    if one
                    else ""
                )
                cells.append(str(near[task][name]) if one else "")
            elif one:
                cells.append(number(one.steps[one.fastest]) if one.fastest is not None else "–")
            else:
                cells.append("")
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def spread(values: Sequence[float], scale: float, digits: int) -> str:
    """Mean, and least and largest in brackets."""
    mean, low, high = (f"{scale * f(values):.{digits}f}" for f in (statistics.fmean, min, max))
    return f"{mean} [{low}, {high}]"


def draw(records: Sequence[Record], path: str | Path, theme: str = "light") -> None:
    """Steps to the target by method and rate: a panel for each task.

    Args:
        records: the log.
        path: of the picture.
        theme: ``"light"`` or ``"dark"``.
    """
    import numpy as np
    from matplotlib import colormaps
    from matplotlib.colors import LinearSegmentedColormap, LogNorm
    from matplotlib.figure import Figure

    from fnopt.lab.style import theme_of

    look = theme_of(theme)
    found, tasks = results(records), tasks_of(records)
    names = list(dict.fromkeys(name for by_method in found.values() for name in by_method))
    rates = next(r["rates"] for r in records if r.get("rates"))
    # Without its darkest part, which a dark background would swallow.
    shades = colormaps["viridis_r"](np.linspace(0, 0.8, 100))
    colors = LinearSegmentedColormap.from_list("steps", shades)
    figure = Figure(figsize=(9.6, 5.2), layout="constrained", facecolor=look.background)
    panels = figure.subplots(1, len(found), sharey=True, squeeze=False)[0]
    image: Any = None
    for panel, (task, by_method) in zip(panels, found.items(), strict=True):
        budget = tasks[task]["every"] * tasks[task]["evaluations"]
        shares = np.full((len(names), len(rates)), np.nan)
        for row, name in enumerate(names):
            if name not in by_method:
                panel.text(4.5, row, "not run", color=look.muted, ha="center", va="center",
                           fontsize=8)  # fmt: skip
                continue
            one = by_method[name]
            # Without a rate to tune it is the same at all.
            shares[row] = [x / budget if x else np.nan for x in one.steps]
            if one.fastest is None:
                text, color = "–", look.muted
            else:
                text, color = f"{one.steps[one.fastest]:.0f}", look.ink
            panel.text(9.8, row, text, color=color, va="center", fontsize=8)
        panel.set_facecolor(look.background)
        image = panel.imshow(
            np.ma.masked_invalid(shares), aspect="auto", cmap=colors,
            norm=LogNorm(0.02, 1.0), interpolation="nearest",
        )  # fmt: skip
        panel.set_title(tasks[task]["title"], color=look.ink, fontsize=9, loc="left")
        panel.set_xticks(range(0, 10, 4), [f"{rate:g}" for rate in rates[::4]])
        panel.set_xticks(np.arange(11) - 0.5, minor=True)
        panel.set_yticks(np.arange(len(names) + 1) - 0.5, minor=True)
        panel.grid(which="minor", color=look.muted, alpha=0.3, linewidth=0.5)
        panel.set_yticks(range(len(names)), names)
        panel.tick_params(colors=look.ink, which="major", length=0, labelsize=8)
        panel.tick_params(which="minor", length=0)
        panel.spines[:].set_visible(False)
        panel.set_xlabel("learning rate", color=look.ink, fontsize=9)
    bar = figure.colorbar(image, ax=panels, shrink=0.5, pad=0.05, ticks=[0.02, 0.1, 0.5, 1.0])
    bar.ax.set_yticklabels(["2 %", "10 %", "50 %", "100 %"])
    bar.ax.tick_params(colors=look.ink, labelsize=8)
    bar.set_label("steps to the target, share of the budget", color=look.ink, fontsize=9)
    bar.outline.set_visible(False)
    figure.savefig(path, dpi=125, facecolor=look.background)
