"""Slots and directions of one leaf: widened for the computation, rounded after it, and checked."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from fnopt.core.checks import same_kind, same_names, same_shape
from fnopt.core.moments import cast
from fnopt.core.types import Slots


def round_direction(rule: Any, path: str, grad: jax.Array, direction: Any) -> jax.Array:
    """A direction in the dtype of the gradient; refused, naming the path, if its shape differs."""
    what = f"{type(rule).__name__}: the direction of {path}"
    same_shape(what, jnp.shape(direction), grad.shape, "gradient")
    same_kind(what, direction, grad, "gradient")
    return cast(jnp.asarray(direction), grad.dtype)


def widen_slots(slots: Slots, wide: Any, real: Any) -> Slots:
    """The slots of one leaf in the precision of the computation.

    Args:
        slots: a named tuple of arrays, or of containers of arrays.
        wide: dtype of the computation; complex slots take it.
        real: the real dtype of the same precision; floating slots take it, others keep theirs.
    """

    def widen(slot: Any) -> Any:
        if not isinstance(slot, jax.Array):
            return jax.tree.map(widen, slot)
        if jnp.issubdtype(slot.dtype, jnp.complexfloating):
            return cast(slot, wide)
        return cast(slot, real) if jnp.issubdtype(slot.dtype, jnp.floating) else slot

    return type(slots)(*map(widen, slots))


def round_slots(rule: Any, path: str, row: Any, slots: Slots) -> Slots:
    """The next slots of one leaf in the dtypes of the slots before.

    Args:
        rule: the rule, for errors.
        path: the leaf's path, for errors.
        row: a dict of the next slots.
        slots: a named tuple of the slots before.
    """
    of_rule = type(rule).__name__

    def store(name: str, new: Any, slot: Any) -> Any:
        if not isinstance(slot, jax.Array):
            # nnx.Optimizer gives containers back as its own kinds; what is in them counts.
            parts, structure = jax.tree.flatten(slot)
            news = jax.tree.leaves(new)
            if len(news) != len(parts):
                raise ValueError(
                    f"{of_rule}: the next state.{name} of {path} has {len(news)} arrays, but the"
                    f" one before has {len(parts)}; a slot keeps its structure"
                )
            return structure.unflatten([store(name, *pair) for pair in zip(news, parts)])  # noqa: B905
        # Without params nothing else sees that a gradient has broadcast its slots.
        what = f"{of_rule}: {path}, by its next state.{name},"
        same_shape(what, jnp.shape(new), slot.shape, f"state.{name}")
        if jnp.iscomplexobj(new) and not jnp.iscomplexobj(slot):
            raise TypeError(
                f"{of_rule}: {path} is complex, but its state.{name} is {slot.dtype}, which would"
                " lose the imaginary part; choose a complex dtype for it, or None"
            )
        if not jnp.issubdtype(slot.dtype, jnp.inexact):
            same_kind(f"{of_rule}: state.{name} of {path}", slot, new, "next value")
        return cast(jnp.asarray(new), slot.dtype)

    same_names(f"{of_rule}: the next slots of {path}", row, slots._fields)
    return type(slots)(*(store(name, row[name], x) for name, x in slots._asdict().items()))
