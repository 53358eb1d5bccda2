"""Metrics as an objective receives them: a function, names, a list of both, or a dict."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import optax

from fnopt.core.checks import nearest
from fnopt.train.kinds import description
from fnopt.train.metrics import accuracy
from fnopt.train.objective import Function

_NAMED = {"accuracy": accuracy}


def metric_functions(metrics: Any) -> dict[str, Function]:
    """Metrics by name.

    Args:
        metrics: a dict from names to functions; or a function, a name, or a list of such, each
            reported under its own name. A name is ``"accuracy"`` or that of one of optax's losses,
            for a function too. None for no metrics.

    Raises:
        TypeError: something is neither a function nor a name, or is a function without a name.
        ValueError: there is no metric of a name, or one name twice.
    """
    if metrics is None:
        return {}
    if isinstance(metrics, Mapping):
        return {name: _function(metric, name) for name, metric in metrics.items()}
    if callable(metrics) or isinstance(metrics, str):
        metrics = [metrics]
    if not isinstance(metrics, (list, tuple, set, frozenset)):
        raise TypeError(
            f"objective: metrics is {description(metrics)}; give functions by name,"
            " metrics={'accuracy': accuracy}, or a list, metrics=['accuracy']"
        )
    by_name: dict[str, Function] = {}
    for metric in metrics:
        name = metric if isinstance(metric, str) else _name(metric)
        if name in by_name:
            raise ValueError(
                f"objective: two metrics are called {name!r}; give them names of their own,"
                " metrics={'name': function, …}"
            )
        by_name[name] = _function(metric, name)
    return by_name


def _function(metric: Any, name: str) -> Function:
    if isinstance(metric, str):
        losses = {n: getattr(optax.losses, n) for n in dir(optax.losses) if not n.startswith("_")}
        known = {**losses, **_NAMED}
        if metric in known:
            return known[metric]
        # A beginning, such as "acc", is less like the whole name than a misspelt one.
        begun = [name for name in known if metric and name.startswith(metric.lower())]
        near = begun[0] if begun else nearest(metric, known)
        cure = f"did you mean {near!r}?" if near else "names are 'accuracy' and optax's losses."
        raise ValueError(
            f"objective: there is no metric {metric!r}; {cure} A function of your own is one, too:"
            f" metrics={{{name!r}: function}}"
        )
    if not callable(metric) or isinstance(metric, type):
        raise TypeError(
            f"objective: metric {name!r} is {description(metric)}; give a function"
            " metric(outputs, targets), a number for each example, or 'accuracy'"
        )
    return metric


def _name(metric: Any) -> str:
    name = getattr(metric, "__name__", None)
    if name is None or name == "<lambda>":
        what = "a lambda" if name else description(metric)
        raise TypeError(
            f"objective: {what} in metrics has no name; give one, metrics={{'name': function}}"
        )
    return name
