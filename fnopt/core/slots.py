"""Slots and directions of one leaf: widened for the computation, rounded after it, and checked."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from fnopt.core.checks import brief, same_kind, same_shape
from fnopt.core.moments import cast
from fnopt.core.types import Slots


def round_direction(rule: Any, path: str, grad: jax.Array, direction: Any) -> jax.Array:
    """A direction in the dtype of the gradient; refused, naming the path, if its shape differs."""
    what = f"{type(rule).__name__}: the direction of {path}"
    same_shape(what, jnp.shape(direction), grad.shape, "gradient")
    same_kind(what, direction, grad, "gradient")
    return cast(jnp.asarray(direction), grad.dtype)


def check_slots(
    rule: Any, slots: Any, names: tuple[str, ...], path: str, State: Any
) -> dict[str, Any]:
    """The slots of one leaf, as ``init_leaf`` returned them.

    Args:
        rule: the rule, for errors.
        slots: what ``init_leaf`` returned.
        names: the names that the slots must have.
        path: the leaf's path, for errors.
        State: the rule's own ``State``, if the names are its and no leaf had them yet; else None.

    Raises:
        TypeError: they are no dict of arrays.
        ValueError: their names are not those of the state.
    """
    if set(as_mapping(rule, slots)) != set(names):
        returned = f"{type(rule).__name__}: init_leaf returns the slots {sorted(slots)}"
        if State is not None:
            raise ValueError(
                f"{returned}, but State ({State.__name__}) has {sorted(names)}; give both the same"
                " names, or leave State out: it is then made from the slots"
            )
        raise ValueError(
            f"{returned} for {path}, but {sorted(names)} for another array; return the same names"
            " for every array and all values of the numbers, with jnp.zeros(0) for a slot that is"
            " not needed"
        )
    return _of_arrays(rule, "init_leaf", slots)


def check_shared(rule: Any, shared: Any) -> dict[str, Any]:
    """What all leaves share, as ``init_shared`` returned it; raises as :func:`check_slots`."""
    if not isinstance(shared, Mapping) or set(shared) != set(rule.shared):
        names = sorted(shared) if isinstance(shared, Mapping) else brief(shared)
        raise ValueError(
            f"{type(rule).__name__}: init_shared returns {names}, but the class attribute shared"
            f" names {sorted(rule.shared)}; give both the same names"
        )
    return _of_arrays(rule, "init_shared", shared)


def _of_arrays(rule: Any, method: str, values: Any) -> dict[str, Any]:
    for name, value in values.items():
        for leaf in jax.tree.leaves(value):
            if not isinstance(leaf, (jax.Array, np.ndarray)):
                raise TypeError(
                    f"{type(rule).__name__}: {method} returns {brief(leaf)} ({type(leaf).__name__})"
                    f" as {name!r}; the state holds arrays: jnp.asarray({brief(leaf)}, jnp.float32)"
                )
    return dict(values)


def as_mapping(rule: Any, slots: Any) -> Any:
    if not isinstance(slots, Mapping):
        raise TypeError(
            f"{type(rule).__name__}: init_leaf must return a dict of slots by name, such as"
            f' {{"trace": zeros(param)}}, got {brief(slots)}'
        )
    return slots


def _same_names(what: str, row: Any, names: tuple[str, ...]) -> None:
    if not isinstance(row, Mapping):
        raise TypeError(f"{what} must be a dict, {as_dict(names)}, got {brief(row)}")
    lacking = [name for name in names if name not in row]
    unknown = [name for name in row if name not in names]
    if lacking or unknown:
        faults = ([f"lack {lacking}"] if lacking else []) + (
            [f"have {unknown}, which init_leaf does not"] if unknown else []
        )
        raise ValueError(f"{what} {' and '.join(faults)}; return {as_dict(names)}")


def as_dict(names: tuple[str, ...]) -> str:
    """The next slots as one writes them."""
    return "{" + ", ".join(f'"{name}": …' for name in names) + "}"


def widen_slots(slots: Slots, wide: Any, real: Any) -> Slots:
    """The slots of one leaf in the precision of the computation.

    Args:
        slots: a named tuple of arrays, or of containers of arrays.
        wide: dtype of the computation; complex slots take it.
        real: the real dtype of the same precision; floating slots take it, others keep theirs.
    """

    def widen(slot: Any) -> Any:
        slot = jnp.asarray(slot)  # a checkpoint may give arrays of NumPy
        if jnp.issubdtype(slot.dtype, jnp.complexfloating):
            return cast(slot, wide)
        return cast(slot, real) if jnp.issubdtype(slot.dtype, jnp.floating) else slot

    return jax.tree.map(widen, slots)


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
        parts, structure = jax.tree.flatten(slot)
        if len(parts) != 1 or parts[0] is not slot:
            # nnx.Optimizer gives containers back as its own kinds; what is in them counts.
            news = jax.tree.leaves(new)
            if len(news) != len(parts):
                raise ValueError(
                    f"{of_rule}: the next state.{name} of {path} has {len(news)} arrays, but the"
                    f" one before has {len(parts)}; a slot keeps its structure"
                )
            return structure.unflatten([store(name, *pair) for pair in zip(news, parts)])  # noqa: B905
        # Without params nothing else sees that a gradient has broadcast its slots.
        what = f"{of_rule}: the next slot {name!r} of {path}"
        same_shape(what, jnp.shape(new), jnp.shape(slot), f"slot before, state.{name},")
        slot = jnp.asarray(slot)
        if jnp.iscomplexobj(new) and not jnp.iscomplexobj(slot):
            raise TypeError(
                f"{of_rule}: {path} is complex, but its state.{name} is {slot.dtype}, which would"
                " lose the imaginary part; choose a complex dtype for it, or None"
            )
        if not jnp.issubdtype(slot.dtype, jnp.inexact):
            same_kind(f"{of_rule}: state.{name} of {path}", slot, new, "next value")
        return cast(jnp.asarray(new), slot.dtype)

    _same_names(f"{of_rule}: the next slots of {path}", row, slots._fields)
    return type(slots)(*(store(name, row[name], x) for name, x in slots._asdict().items()))
