"""The learning rate of an optimizer: where it is in it, and the same with another."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from fnopt.core import Schedule, Transform, Wrapper
from fnopt.core.schedule import is_schedule


def rate_of(tx: Transform, steps: int) -> float | None:
    """The learning rate; of a schedule the largest value in so many steps; None without one.

    Where there are several, as in groups, none is the rate.
    """
    leaves = _rates(tx)
    return _peak(leaves[0], steps) if len(leaves) == 1 else None


def with_rate(tx: Transform, rate: float, steps: int) -> Transform:
    """An optimizer with another rate; a schedule is multiplied so that this is its largest value.

    Args:
        tx: an optimizer that has a rate.
        rate: the rate.
        steps: number of steps in which a schedule is to have this as its largest value.
    """
    (old,) = _rates(tx)
    new = old.scaled(rate / _peak(old, steps)) if isinstance(old, Schedule) else rate
    return _mapped(tx, lambda path, leaf: new if _is_rate(tx, path) else leaf)


def _rates(tx: Transform) -> list[Any]:
    found: list[Any] = []
    _mapped(tx, lambda path, leaf: found.append(leaf) if _is_rate(tx, path) else None)
    return found


def _mapped(tx: Transform, function: Any) -> Any:
    return jax.tree_util.tree_map_with_path(function, tx, is_leaf=is_schedule)


def _is_rate(tx: Any, path: tuple[Any, ...]) -> bool:
    """Whether a leaf is a learning rate of the optimizer itself, where a step has this length."""
    owner = tx
    for key in path[:-1]:
        inner = _item(owner, key)
        # Of several transforms in a wrapper, the first is the optimizer of the parameters.
        if isinstance(owner, Wrapper) and isinstance(inner, Transform):
            if inner is not owner.wrapped:
                return False
        owner = inner
    searches = getattr(owner, "linesearch", None) is not None
    return isinstance(owner, Transform) and _name(path[-1]) == owner.rate_name and not searches


def _item(owner: Any, key: Any) -> Any:
    if isinstance(key, jax.tree_util.GetAttrKey):
        return getattr(owner, key.name)
    return owner[getattr(key, "key", getattr(key, "idx", None))]


def _name(key: Any) -> Any:
    return getattr(key, "name", None)


def _peak(rate: Any, steps: int) -> float:
    if isinstance(rate, Schedule):
        return float(jnp.max(rate(jnp.arange(steps))))
    return float(np.asarray(rate))
