"""Finds and replaces the learning rate of an optimizer."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.tree_util import GetAttrKey

from fnopt.core import Schedule, Transform, Wrapper
from fnopt.core.schedule import is_schedule


def rate_of(tx: Transform, steps: int) -> float | None:
    """The learning rate of an optimizer; of a schedule its largest value in these steps.

    None if there is no rate, if there are several, as in groups, or one for each element.
    """
    return _peak(_rates(tx)[0], steps) if has_one_rate(tx) else None


def has_one_rate(tx: Transform) -> bool:
    """Whether an optimizer has one learning rate, a number or a schedule.

    False if there is no rate, if there are several, as in groups, or one for each element.
    """
    rates = _rates(tx)
    return len(rates) == 1 and (isinstance(rates[0], Schedule) or not np.ndim(rates[0]))


def with_rate(tx: Transform, rate: float, steps: int) -> Transform:
    """An optimizer with another rate; a schedule is scaled so that the rate is its largest value.

    Args:
        tx: an optimizer that has a rate.
        rate: the rate.
        steps: number of steps in which a schedule has its largest value.

    Raises:
        ValueError: the schedule is never above 0.
    """
    (old,) = _rates(tx)
    if isinstance(old, Schedule):
        peak = _peak(old, steps)
        if not peak > 0:
            raise ValueError(
                f"race: the learning rate of {type(tx).__name__} is at most {peak:g} in {steps}"
                " steps, which no factor turns into another rate; give it one above 0"
            )
        return replace_rate(tx, old.scaled(rate / peak))
    return replace_rate(tx, rate)


def replace_rate(tx: Transform, rate: Any) -> Transform:
    """An optimizer with another rate in place of its own, a schedule too.

    Args:
        tx: an optimizer that has one rate.
        rate: the rate, a number, an array or a schedule.
    """
    return _mapped(tx, lambda path, leaf: rate if _is_rate(tx, path) else leaf)


def _rates(tx: Transform) -> list[Any]:
    rates: list[Any] = []
    _mapped(tx, lambda path, leaf: rates.append(leaf) if _is_rate(tx, path) else None)
    return rates


def _mapped(tx: Transform, function: Any) -> Any:
    return jax.tree_util.tree_map_with_path(function, tx, is_leaf=is_schedule)


def _is_rate(tx: Any, path: tuple[Any, ...]) -> bool:
    """Whether a leaf is the rate of a part that determines the length of the optimizer's step."""
    owner = tx
    for key in path[:-1]:
        inner = _item(owner, key)
        if isinstance(owner, Wrapper) and isinstance(inner, Transform):
            # Of several transforms in a wrapper, one is the optimizer of the parameters.
            if inner is not owner.wrapped:
                return False
        owner = inner
    if not isinstance(owner, Transform) or getattr(owner, "linesearch", None) is not None:
        return False
    return isinstance(path[-1], GetAttrKey) and path[-1].name == owner.rate_name


def _item(owner: Any, key: Any) -> Any:
    if isinstance(key, GetAttrKey):
        return getattr(owner, key.name)
    return owner[getattr(key, "key", getattr(key, "idx", None))]


def _peak(rate: Any, steps: int) -> float:
    if isinstance(rate, Schedule):
        return float(jnp.max(jax.vmap(rate)(jnp.arange(steps))))
    return float(np.asarray(rate))
