"""Lets flax's serialization look into schedules, as it looks into optimizers by itself.

Masks and labels are structure: nothing of them is stored.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from flax import serialization

from fnopt.core import Schedule
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
