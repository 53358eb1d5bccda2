"""States made from the slots of a rule: a named tuple of a field for each, and of a count."""

from __future__ import annotations

import collections
import copyreg
import functools
from typing import Any

import jax
import jax.numpy as jnp
import optax

from fnopt.core.slots import as_mapping


class MadeState(type):
    """The kind of the states that are made; one is found again by its rule and its fields.

    Two processes, or two rules of one class and the same fields, have the same state, so that it
    can be pickled, and trees of it are equal.
    """

    rule: type


_SLOTS: dict[Any, tuple[str, ...]] = {}
"""The names of the slots by class and static fields of a rule, which decide them."""


def made_state(rule: Any, counts: bool) -> Any:
    """The state of a rule with the slots that it makes: its named tuple class.

    Args:
        rule: the rule, its schedules evaluated.
        counts: whether there is a count; it is first, as in optax's states.
    """
    static = tuple(getattr(rule, name) for name, spec in rule._specs.items() if spec.static)
    key = type(rule), static
    if key not in _SLOTS:
        _SLOTS[key] = slots_of(rule)
    fields = *(("count",) if counts else ()), *rule.shared, *_SLOTS[key]
    return state_of(type(rule), fields) if fields else optax.EmptyState


def slots_of(rule: Any) -> tuple[str, ...]:
    """The names of the slots that a rule makes of any array.

    Raises:
        TypeError: it makes them of no scalar, so that its ``State`` must say their names.
    """
    try:
        slots = jax.eval_shape(lambda: as_mapping(rule, rule.init_leaf(jnp.zeros(()))))
    except (IndexError, ValueError) as error:
        raise TypeError(
            f"{type(rule).__name__}: init_leaf fails for an array without axes ({error!s:.80});"
            " return slots for it, too, or name them by State = a named tuple class"
        ) from None
    return tuple(slots)


@functools.cache
def state_of(rule: type, fields: tuple[str, ...]) -> Any:
    """The state of a rule: a named tuple called as the rule, ``ScaleBySignState``.

    Args:
        rule: the class of the rule.
        fields: the names of its fields, in their order.
    """
    words = rule.__name__.strip("_").split("_")
    name = "".join(word[:1].upper() + word[1:] for word in words) + "State"
    fields_of = collections.namedtuple(name, fields)
    return MadeState(
        name, (fields_of,), {"__slots__": (), "__module__": rule.__module__, "rule": rule}
    )


def _found(state: Any) -> tuple[Any, ...]:
    return state_of, (state.rule, state._fields)


copyreg.pickle(MadeState, _found)  # pyright: ignore[reportArgumentType]
