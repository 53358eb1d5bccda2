"""Slots of another shape than their parameter, over the devices that it is sharded over."""

from __future__ import annotations

from typing import Any

import jax
from jax.core import Tracer
from jax.sharding import NamedSharding, PartitionSpec


def spread_like(param: Any, slots: Any) -> Any:
    """Slots of a leaf, each cut along one axis over the devices that the leaf is cut over.

    That axis is the first which those devices divide: of a stack every device has whole matrices,
    else it has rows of them. What has no such axis is whole on every device.

    Args:
        param: the parameter; where it is traced, or cut over no mesh, the slots stay as they are.
        slots: a tree of arrays.
    """
    sharding = None if isinstance(param, Tracer) else getattr(param, "sharding", None)
    if not isinstance(sharding, NamedSharding) or len(sharding.device_set) == 1:
        return slots
    names = tuple(
        name
        for part in sharding.spec
        if part is not None
        for name in (part if isinstance(part, tuple) else (part,))
    )
    devices = 1
    for name in names:
        devices *= sharding.mesh.shape[name]

    def place(slot: Any) -> Any:
        axis = next((i for i, size in enumerate(slot.shape) if size and not size % devices), None)
        spec = [None] * (axis or 0) + [names] if names and axis is not None else []
        return jax.device_put(slot, NamedSharding(sharding.mesh, PartitionSpec(*spec)))

    return jax.tree.map(place, slots)
