"""States made from the slots of a rule: a named tuple of a field for each, and of a count."""

from __future__ import annotations

import collections
import copyreg
import threading
from typing import Any

import jax
import jax.numpy as jnp
import optax

from fnopt.core.slots import as_mapping
from fnopt.core.transform import at_count


class MadeState(type):
    """The kind of the states that are made; one is found again by its rule and its fields.

    Two processes, or two rules of one class and the same fields, have the same state, so that it
    can be pickled, and trees of it are equal.
    """

    rule: type


_BY_RULE: dict[Any, Any] = {}
"""States by what decides their slots: the structure of a rule, and an array's shape and dtype.

A structure holds the functions among a rule's static fields, so only the last used are kept.
"""
_MOST = 128
_LOCK = threading.RLock()

_BY_FIELDS: dict[tuple[type, tuple[str, ...]], Any] = {}
"""All states by class of rule and fields; two for the same would be two structures of trees."""


def made_state(rule: Any, counts: bool, leaf: Any) -> Any:
    """The state of a rule with the slots that it makes: its named tuple class.

    Args:
        rule: the rule.
        counts: whether there is a count; it is first, as in optax's states.
        leaf: an array that the rule is for; None where it is for none.
    """
    if leaf is not None:
        leaf = jax.ShapeDtypeStruct(jnp.shape(leaf), jnp.result_type(leaf))
    key = jax.tree.structure(rule), leaf
    with _LOCK:
        state = _BY_RULE.pop(key, None)
        if state is not None:
            _BY_RULE[key] = state  # now the last one used
    return state or _remember(key, _new_state(rule, counts, leaf))


def _remember(key: Any, state: Any) -> Any:
    with _LOCK:
        _BY_RULE[key] = state
        while len(_BY_RULE) > _MOST:
            del _BY_RULE[next(iter(_BY_RULE))]
    return state


def _new_state(rule: Any, counts: bool, leaf: Any) -> Any:
    slots = slots_of(at_count(rule, jnp.zeros((), jnp.int32)), leaf)
    fields = *(("count",) if counts else ()), *rule.shared, *slots
    return state_of(type(rule), fields) if fields else optax.EmptyState


def slots_of(rule: Any, leaf: Any) -> tuple[str, ...]:
    """The names of the slots that a rule makes of an array, in their order.

    Args:
        rule: the rule, its schedules evaluated.
        leaf: shape and dtype of the array; None for the lowest rank that ``init_leaf`` accepts.

    Raises:
        TypeError: it accepts none, so that ``State`` must say their names.
    """
    if leaf is not None:
        return _names(rule, leaf)
    for rank in range(5):
        try:
            return _names(rule, jax.ShapeDtypeStruct((1,) * rank, jnp.result_type(float)))
        except Exception as error:  # a rule for matrices refuses others in its own way
            why = " ".join(str(error).split()) or type(error).__name__
    raise TypeError(
        f"{type(rule).__name__}: there are no parameters here that tell the names of the slots,"
        f" and init_leaf fails for arrays of size 1 ({why:.80}); name them by State = a named"
        " tuple class"
    )


def _names(rule: Any, leaf: Any) -> tuple[str, ...]:
    names: list[str] = []

    def note(param: jax.Array) -> None:
        names.extend(as_mapping(rule, rule.init_leaf(param)))

    jax.eval_shape(note, leaf)
    return tuple(names)


def state_of(rule: type, fields: tuple[str, ...]) -> Any:
    """The state of a rule: a named tuple called as the rule, ``ScaleBySignState``.

    Args:
        rule: the class of the rule.
        fields: the names of its fields, in their order.
    """
    with _LOCK:
        if (rule, fields) not in _BY_FIELDS:
            _BY_FIELDS[rule, fields] = _define(rule, fields)
        return _BY_FIELDS[rule, fields]


def _define(rule: type, fields: tuple[str, ...]) -> Any:
    words = rule.__name__.strip("_").split("_")
    name = "".join(word[:1].upper() + word[1:] for word in words) + "State"
    namespace = {
        "__slots__": (),
        "__module__": rule.__module__,
        "__reduce__": _reduced,
        "rule": rule,
    }
    return MadeState(name, (collections.namedtuple(name, fields),), namespace)


def _found(state: Any) -> tuple[Any, ...]:
    return state_of, (state.rule, state._fields)


copyreg.pickle(MadeState, _found)  # pyright: ignore[reportArgumentType]


def _reduced(state: Any) -> tuple[Any, ...]:
    # cloudpickle would pickle the class by its contents, and so make a second one.
    return _restored, (type(state).rule, state._fields, tuple(state))


def _restored(rule: type, fields: tuple[str, ...], values: tuple[Any, ...]) -> Any:
    return state_of(rule, fields)(*values)
