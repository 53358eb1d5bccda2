"""Lets flax's serialization look into schedules, as it looks into optimizers by itself.

Masks and labels are structure: nothing of them is stored. Of a packed tree the leaves are stored by
their names, so that it is restored into any layout, and as a tree.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from flax import serialization

from fnopt.core import Packed, Schedule
from fnopt.core.select import Flags, Labels
from fnopt.core.value import make


def register_schedules() -> None:
    """Registers all schedules, masks and labels; call it again after defining a schedule."""
    for kind in _kinds(Schedule):
        serialization.register_serialization_state(kind, _to_dict, _from_dict, override=True)
    for kind in (Flags, Labels):
        serialization.register_serialization_state(
            kind, lambda value: {}, lambda value, state: value, override=True
        )
    serialization.register_serialization_state(Packed, _of_packed, _to_packed, override=True)


def _of_packed(packed: Packed) -> Any:
    return serialization.to_state_dict(packed.unpack())


def _to_packed(packed: Packed, state: Any) -> Packed:
    return packed.packing.pack(serialization.from_state_dict(packed.unpack(), state))


def _kinds(kind: type) -> Iterator[type]:
    for sub in kind.__subclasses__():
        yield sub
        yield from _kinds(sub)


def _leaves(schedule: Any) -> dict[str, Any]:
    return {
        name: getattr(schedule, name) for name, spec in schedule._specs.items() if not spec.static
    }


def _to_dict(schedule: Any) -> dict[str, Any]:
    return {name: serialization.to_state_dict(x) for name, x in _leaves(schedule).items()}


def _from_dict(schedule: Any, state: dict[str, Any]) -> Any:
    restored = {
        name: serialization.from_state_dict(x, state[name], name=name)
        for name, x in _leaves(schedule).items()
    }
    return make(type(schedule), {**vars(schedule), **restored})
