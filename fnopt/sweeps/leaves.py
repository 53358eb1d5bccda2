"""The numbers of an optimizer by name, each with the range that its field accepts."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.tree_util import GetAttrKey, SequenceKey

from fnopt.core import Schedule, Transform
from fnopt.core.checks import Interval, brief, nearest
from fnopt.core.paths import KeyPath
from fnopt.core.ranges import Several
from fnopt.core.value import Value

LINE = Interval("(-inf, inf)")
"""The range of a number that may be anything."""


@dataclasses.dataclass(frozen=True)
class Leaf:
    """A number of an optimizer, or an array of them.

    Attributes:
        name: the fields that lead to it, as in ``"learning_rate.decay_steps"``.
        place: its place among the leaves of the optimizer.
        value: the number.
        interval: the range of numbers that its field accepts.
    """

    name: str
    place: int
    value: Any
    interval: Interval

    @property
    def moves(self) -> bool:
        """Whether it is finite and strictly inside its range, so that it can go both ways."""
        low, high = self.interval.ends
        value = np.asarray(self.value)
        return bool(np.all(np.isfinite(value) & (value > low) & (value < high)))


def leaves_of(tx: Transform) -> dict[str, Leaf]:
    """The real numbers of an optimizer by name, in its order; integers such as seeds are none.

    Args:
        tx: the optimizer.
    """
    leaves = {}
    for place, (path, value) in enumerate(jax.tree_util.tree_leaves_with_path(tx)):
        if jnp.issubdtype(jnp.result_type(value), jnp.floating):
            name = jax.tree_util.keystr(path, simple=True, separator=".")
            leaves[name] = Leaf(name, place, value, _interval(tx, path, value))
    return leaves


def check_leaves(caller: str, tx: Transform) -> dict[str, Leaf]:
    """:func:`leaves_of` an optimizer that has some.

    Args:
        caller: the public function, for the error.
        tx: the optimizer.

    Raises:
        ValueError: it has none.
    """
    leaves = leaves_of(tx)
    if not leaves:
        raise ValueError(
            f"{caller}: optimizer {brief(tx, 60)} has no number to differentiate by: the numbers of"
            " optax's transformations, and of plain functions as schedules, are hidden in"
            " closures; give fnopt's optimizers and schedules of the same names"
        )
    return leaves


def choose(
    caller: str, tx: Transform, names: str | Sequence[str] | None
) -> tuple[dict[str, Leaf], list[str]]:
    """The leaves that names select, of those that can go both ways.

    A name selects every leaf in whose own name it stands as a run of whole fields:
    ``"learning_rate"`` selects the numbers of a schedule, ``"decay_steps"`` one of them. Slashes
    are read as dots.

    Args:
        caller: the public function, for errors.
        tx: the optimizer.
        names: a name or several; None for all leaves.

    Returns:
        The leaves, by name; and the names of those that were left out, as they are at an end of
        their range.

    Raises:
        TypeError: ``names`` is something else.
        ValueError: the optimizer has no numbers; a name selects none, or none that can move.
    """
    leaves = check_leaves(caller, tx)
    if isinstance(names, str):
        names = [names]
    elif names is not None and not (
        isinstance(names, Sequence) and names and all(isinstance(x, str) for x in names)
    ):
        raise TypeError(
            f"{caller}: names must be the name of a hyperparameter, several of them or None for"
            f" all, got {brief(names, 60)}; there are {_listed(leaves)}"
        )
    selected: dict[str, Leaf] = {}
    for name in [None] if names is None else names:
        found = {k: leaf for k, leaf in leaves.items() if name is None or stands_in(name, k)}
        if not found:
            near = nearest(str(name), leaves)
            suggestion = f"did you mean {near!r}? " if near else ""
            raise ValueError(
                f"{caller}: {type(tx).__name__} has no hyperparameter {brief(name, 40)};"
                f" {suggestion}It has {_listed(leaves)}"
            )
        if not any(leaf.moves for leaf in found.values()):
            fixed = next(iter(found.values()))
            raise ValueError(
                f"{caller}: {fixed.name} is {brief(fixed.value, 30)}, which is not strictly inside"
                f" its range {fixed.interval}, so it cannot go both ways; begin inside of it, or"
                " leave it out of names"
            )
        selected |= found
    moving = {name: leaf for name, leaf in leaves.items() if name in selected and leaf.moves}
    return moving, [name for name in leaves if name in selected and name not in moving]


def dotted(name: str) -> str:
    """The name of a hyperparameter as results have it, with dots where there were slashes."""
    return name.replace("/", ".")


def stands_in(name: str, whole: str) -> bool:
    """Whether a name is a run of whole fields of another, as ``"b.c"`` is of ``"a.b.c.d"``."""
    return bool(name) and f".{dotted(name)}." in f".{whole}."


def with_leaves(tx: Transform, leaves: Mapping[str, Leaf], values: Mapping[str, Any]) -> Any:
    """An optimizer with other numbers, unchecked: they may be gradients or tracers.

    Args:
        tx: the optimizer.
        leaves: its leaves by name.
        values: the new numbers, by the names of some.
    """
    numbers, structure = jax.tree.flatten(tx)
    for name, value in values.items():
        numbers[leaves[name].place] = value
    return structure.unflatten(numbers)


def _listed(leaves: Mapping[str, Leaf], most: int = 8) -> str:
    names = list(leaves)
    return ", ".join(names[:most]) + f" and {len(names) - most} more" * (len(names) > most)


def _interval(tx: Transform, path: KeyPath, value: Any) -> Interval:
    """The range of a leaf: that of its field, or of the field whose schedule it belongs to."""
    owner: Any = tx
    field, own, outer = None, None, None
    for key in path:
        if isinstance(owner, Value) and isinstance(key, GetAttrKey):
            # What a schedule stands for has a range; what a transform holds has its own.
            outer = (own or outer) if isinstance(owner, Schedule) else None
            field = owner._specs[key.name]
            own = field.interval
            owner = getattr(owner, key.name)
        else:
            if isinstance(field, Several) and isinstance(key, SequenceKey):
                field = field.of[key.idx]
                own = field.interval
            items: Any = owner
            owner = items[getattr(key, "key", getattr(key, "idx", None))]
    if own is not None:
        return own
    if outer is None:
        return LINE
    value = np.asarray(value)
    if Leaf("", 0, value, outer).moves:
        return outer
    # A length or an exponent of a schedule, which has another unit than the schedule's value.
    if np.all(value > 0):
        return Interval("(0, inf)")
    return outer if np.any(value == 0) else LINE
