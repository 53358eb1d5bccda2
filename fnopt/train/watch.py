"""The watched metric of the evaluations, and its better direction."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from typing import Any, Literal

import jax

from fnopt.core import did_you_mean
from fnopt.core.warn import warn_deprecated
from fnopt.schedule.plateau import Watcher
from fnopt.train.metrics import mode_of
from fnopt.train.objective import Objective

Mode = Literal["min", "max"]
_WORDS = {"min": "smaller", "max": "larger"}


@dataclasses.dataclass(frozen=True)
class Watched:
    """The watched metric.

    Attributes:
        name: its name in the history, such as ``"val_loss"``; ``""`` where nothing is evaluated.
        mode: whether the smallest (``"min"``) or the largest value (``"max"``) is the best.
        monitor: the name that the user gave; None for none.
    """

    name: str
    mode: Mode
    monitor: str | None

    def check(self, recorded: Iterable[str]) -> None:
        """Refuses a metric that is not recorded, and warns of a name without its set.

        Args:
            recorded: names of the metrics of all evaluations.

        Raises:
            ValueError: it is none of these.
        """
        if not self.name:
            return
        if self.name not in recorded:
            raise ValueError(_no_metric(self.monitor, recorded))
        if self.monitor not in (None, self.name):
            warn_deprecated(
                f"fit: monitor={self.monitor!r} is now monitor={self.name!r}, the name in the"
                " history; the short name will be refused in the next version"
            )


def find_watched(
    objective: Objective,
    sets: Sequence[str],
    monitor: str | None,
    monitor_mode: Mode | None,
    stopping: Any,
    tx: Any,
) -> Watched:
    """The watched metric and its better direction: ``monitor_mode``, else the metric's mark.

    Args:
        objective: the objective, which has the metrics.
        sets: names of the sets that are evaluated.
        monitor: name of the watched metric; None for the loss of the first set.
        monitor_mode: the user's choice, ``"min"`` or ``"max"``; None for the metric's own.
        stopping: early stopping, or None; its mode must agree.
        tx: the optimizer; its parts that watch a metric must agree.

    Raises:
        ValueError: there is no such metric, it is not marked, or two disagree.
    """
    name, metric = _resolved(objective, sets, monitor)
    marked = "min" if metric == "loss" else mode_of(objective.metric_fns.get(metric))
    own = getattr(stopping, "mode", None)
    mode = monitor_mode or marked or own
    if mode is None:
        raise ValueError(
            f"fit: whether a larger or a smaller {name!r} is better is not known; say"
            f" monitor_mode='max' or 'min', or mark the metric: metrics={{{metric!r}:"
            " fnopt.train.maximized(…)}"
        )
    if own not in (None, mode):
        raise ValueError(_disagreement("early_stopping", own, name or metric, mode))
    for part in watchers(tx):
        if part.mode != mode:  # pyright: ignore[reportAttributeAccessIssue]
            raise ValueError(_disagreement(type(part).__name__, part.mode, name, mode))  # pyright: ignore
    return Watched(name, mode, monitor)


def _resolved(objective: Objective, sets: Sequence[str], monitor: str | None) -> tuple[str, str]:
    """The name in the history and the metric's own; a name without a set is the first one's."""
    if not sets:
        return "", "loss"
    if monitor is None:
        return f"{sets[0]}_loss", "loss"
    metrics = ["loss", *objective.metric_fns]
    recorded = {f"{name}_{metric}": metric for name in sets for metric in metrics}
    if monitor in recorded:
        return monitor, recorded[monitor]
    if monitor not in metrics:
        if not objective.has_aux:
            raise ValueError(_no_metric(monitor, recorded))
        # A metric may come with the loss: Watched.check knows those too.
        for name in sorted(sets, key=len, reverse=True):
            if monitor.startswith(f"{name}_"):
                return monitor, monitor.removeprefix(f"{name}_")
    return f"{sets[0]}_{monitor}", monitor


def watchers(tx: Any) -> list[Watcher]:
    """The parts of an optimizer that watch a metric."""
    parts = jax.tree.leaves(tx, is_leaf=lambda x: isinstance(x, Watcher))
    return [
        part
        for part in parts
        if isinstance(part, Watcher) and getattr(part, "monitor", None) == "metric"
    ]


def check_unwatched(monitor: str | None, stopping: Any, tx: Any, eval_every: Any) -> None:
    """Refuses options that need evaluations where there are none.

    Args:
        monitor: name of the watched metric; None for none.
        stopping: early stopping, or None.
        tx: the optimizer.
        eval_every: steps between two evaluations, or None.

    Raises:
        ValueError: something does.
    """
    options = {"monitor": monitor, "early_stopping": stopping, "eval_every": eval_every}
    for name, value in options.items():
        if value is not None:
            which = f"{name}={value!r}" if name == "monitor" else name
            raise ValueError(f"fit: {which} needs an evaluation; give validation_data")
    for part in watchers(tx):
        raise ValueError(
            f"fit: {type(part).__name__} watches a metric of validation_data, and would never act;"
            " give validation_data, or monitor='value'"
        )


def _no_metric(monitor: str | None, recorded: Iterable[str]) -> str:
    return f"fit: no metric monitor={monitor!r}; {did_you_mean(str(monitor), recorded)}"


def _disagreement(what: str, own: str, monitor: str, mode: str) -> str:
    return (
        f"fit: {what} has mode={own!r}, but a {_WORDS[mode]} {monitor!r} is better; give it"
        f" mode={mode!r}, or set monitor_mode={own!r}"
    )
