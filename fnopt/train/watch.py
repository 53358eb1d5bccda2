"""The watched metric of the evaluations, and its better direction."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal

import jax

from fnopt.core import did_you_mean
from fnopt.schedule.plateau import Watcher
from fnopt.train.metrics import mode_of
from fnopt.train.objective import Objective

Mode = Literal["min", "max"]
_WORDS = {"min": "smaller", "max": "larger"}


def direction(
    objective: Objective, monitor: str, monitor_mode: Mode | None, stopping: Any, tx: Any
) -> Mode:
    """The better direction of the watched metric: ``monitor_mode``, else the metric's mark.

    Args:
        objective: the objective, which has the metrics.
        monitor: name of the watched metric.
        monitor_mode: the user's choice, ``"min"`` or ``"max"``; None for the metric's own.
        stopping: early stopping, or None; its mode must agree.
        tx: the optimizer; its parts that watch a metric must agree.

    Raises:
        ValueError: there is no such metric, it is not marked, or two disagree.
    """
    if not objective.has_aux:  # else a metric may come with the loss
        check_monitor(monitor, ["loss", *objective.metric_fns])
    marked = "min" if monitor == "loss" else mode_of(objective.metric_fns.get(monitor))
    own = getattr(stopping, "mode", None)
    mode = monitor_mode or marked or own
    if mode is None:
        raise ValueError(
            f"fit: whether a larger or a smaller {monitor!r} is better is not known; say"
            f" monitor_mode='max' or 'min', or mark the metric: metrics={{{monitor!r}:"
            " fnopt.train.maximized(…)}"
        )
    if own not in (None, mode):
        raise ValueError(_disagreement("early_stopping", own, monitor, mode))
    for part in watchers(tx):
        if part.mode != mode:  # pyright: ignore[reportAttributeAccessIssue]
            raise ValueError(_disagreement(type(part).__name__, part.mode, monitor, mode))  # pyright: ignore
    return mode


def watchers(tx: Any) -> list[Watcher]:
    """The parts of an optimizer that watch a metric."""
    parts = jax.tree.leaves(tx, is_leaf=lambda x: isinstance(x, Watcher))
    return [
        part
        for part in parts
        if isinstance(part, Watcher) and getattr(part, "monitor", None) == "metric"
    ]


def check_unwatched(monitor: str, stopping: Any, tx: Any, eval_every: Any) -> None:
    """Refuses options that need evaluations where there are none.

    Args:
        monitor: name of the watched metric.
        stopping: early stopping, or None.
        tx: the optimizer.
        eval_every: steps between two evaluations, or None.

    Raises:
        ValueError: something does.
    """
    if monitor != "loss":
        raise ValueError(f"fit: monitor={monitor!r} is a metric of test_data; give some")
    for name, value in (("early_stopping", stopping), ("eval_every", eval_every)):
        if value is not None:
            raise ValueError(f"fit: {name} needs test_data, whose {monitor} is watched")
    for part in watchers(tx):
        raise ValueError(
            f"fit: {type(part).__name__} watches a metric of test_data, and would never act; give"
            " test_data, or monitor='value'"
        )


def check_monitor(monitor: str, metrics: Iterable[str]) -> None:
    """Raises ValueError where the watched metric is none of these."""
    if monitor not in metrics:
        raise ValueError(f"fit: no metric monitor={monitor!r}; {did_you_mean(monitor, metrics)}")


def _disagreement(what: str, own: str, monitor: str, mode: str) -> str:
    return (
        f"fit: {what} has mode={own!r}, but a {_WORDS[mode]} {monitor!r} is better; give it"
        f" mode={mode!r}, or fit monitor_mode={own!r}"
    )
