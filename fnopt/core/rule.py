"""What a rule is: a transform told leaf by leaf, with everything tree-shaped derived once."""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import functools
from collections.abc import Callable
from typing import Annotated, Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import optax

from fnopt.core.checks import float_leaves, leaves_like, same_shape
from fnopt.core.fields import Field
from fnopt.core.moments import cast, computing_dtype
from fnopt.core.schedule import is_schedule
from fnopt.core.transform import Transform, at_count


class ScheduledState(NamedTuple):
    """The state of a rule that counts only because a schedule in it needs the count."""

    count: jax.Array
    inner_state: Any


class Rule(Transform):
    """A method that is one formula on one array, as most first-order methods are.

    A subclass says which slots a parameter has, and how gradient, slots, parameter and count give
    a direction and the next slots::

        class trace(Rule):
            decay: Decay
            State = optax.TraceState

            def slots(self, param):
                return {"trace": zeros(param)}

            def direct(self, grad, slots, param, t):
                trace = grad + self.decay * slots.trace
                return trace, {"trace": trace}

    In ``direct`` the fields of ``self`` are numbers (schedules are evaluated at the count), and
    they, ``grad``, ``slots``, ``param`` and ``t`` are in one precision: float32, or float64 for
    float64 leaves. What it returns is rounded to the dtypes of the gradient and of the slots. The
    tree, the layout of the state, dtypes, schedules and masks are seen to here.
    """

    State: ClassVar[Any] = optax.EmptyState
    """A named tuple of the slots, and of ``count`` if the formula needs it (may be a property)."""
    needs_params: ClassVar[bool] = False
    """Whether the formula needs the parameter."""
    mask = None  # no annotation, lest it be a field
    """Which leaves the rule is for; a subclass with ``mask: Mask = None`` lets the user say."""

    def slots(self, param: jax.Array) -> dict[str, jax.Array]:
        """The slots of one parameter before the first update."""
        return {}

    def direct(self, grad: jax.Array, slots: Any, param: Any, t: Any) -> Any:
        """The direction and a dict of the next slots.

        Args:
            grad: the gradient, or what the transforms before have made of it.
            slots: this parameter's slots, by name.
            param: the parameter, or None if it was not given to ``update``.
            t: the number of this update, 1 for the first, or what :meth:`once` makes of it; None
                if the rule does not count.
        """
        raise NotImplementedError

    def once(self, t: Any) -> Any:
        """What the formula needs of the count alone, computed once for all leaves."""
        return t

    def given_all(self, grads: list[jax.Array]) -> Rule:
        """The rule for each leaf, now that all gradients are known; this one unless overridden."""
        return self

    def init(self, params: Any) -> Any:
        _, leaves, treedef = float_leaves("params", params)
        Slots, rule = _slots_of(self.State), at_count(self, jnp.zeros((), jnp.int32))
        left_out = Slots(*(optax.MaskedNode() for _ in Slots._fields))
        rows = [
            Slots(**rule.slots(leaf)) if chosen else left_out
            for leaf, chosen in zip(leaves, self._chosen(params, len(leaves)), strict=True)
        ]
        return self._pack(jnp.zeros((), jnp.int32), rows, treedef)

    def update(
        self, updates: Any, state: Any, params: Any = None, **extra_args: Any
    ) -> tuple[Any, Any]:
        if params is None and self.needs_params:
            raise ValueError(
                f"{type(self).__name__} needs the parameters: call update(updates, state, params)"
            )
        paths, grads, treedef = float_leaves("updates", updates)
        like: list[Any] = [None] * len(grads)
        if params is not None:
            like = leaves_like(treedef, "params", params, "updates")
        count, rows = self._unpack(state, treedef)
        next_count = None if count is None else optax.safe_increment(count)
        rule = at_count(self, count).given_all(grads)

        @functools.cache
        def prepared(real: Any) -> tuple[Rule, Any]:
            numbers = at_count(rule, None, real)
            return numbers, None if next_count is None else numbers.once(
                cast(jnp.asarray(next_count), real)
            )

        chosen = self._chosen(updates if params is None else params, len(grads))
        for i in filter(chosen.__getitem__, range(len(grads))):
            if like[i] is not None:
                same_shape(paths[i], grads[i].shape, jnp.shape(like[i]), "parameter")
            grads[i], rows[i] = _direct(prepared, paths[i], grads[i], rows[i], like[i])
        return treedef.unflatten(grads), self._pack(next_count, rows, treedef)

    def count(self, state: Any) -> jax.Array | None:
        # By its fields: every tuple has a method of this name.
        return state.count if "count" in state._fields else None

    def _scheduled(self) -> bool:
        return any(map(is_schedule, vars(self).values()))

    def _chosen(self, tree: Any, size: int) -> list[bool]:
        return [True] * size if self.mask is None or not size else self.mask.flags(tree)

    def _pack(self, count: Any, rows: list[Any], treedef: Any) -> Any:
        """The state that holds a count and a row of slots for every leaf."""
        slots = {
            name: treedef.unflatten([getattr(row, name) for row in rows])
            for name in _slots_of(self.State)._fields
        }
        if "count" in self.State._fields:
            return self.State(count=count, **slots)
        if not self._scheduled():
            return self.State(**slots)
        if not slots:
            return optax.ScaleByScheduleState(count)
        return ScheduledState(count, self.State(**slots))

    def _unpack(self, state: Any, treedef: Any) -> tuple[Any, list[Any]]:
        """The count, None if there is none, and the rows."""
        Slots = _slots_of(self.State)
        inner = state.inner_state if isinstance(state, ScheduledState) else state
        held = {*getattr(state, "_fields", ()), *getattr(inner, "_fields", ())} - {"inner_state"}
        wanted = {*self.State._fields, *(["count"] if self._scheduled() else [])}
        if held != wanted or not hasattr(state, "_fields"):
            raise ValueError(
                f"{type(self).__name__}: the state given to update is a {type(state).__name__}, not"
                " what init of this transform makes; make it anew (a schedule in the place of a"
                " number makes another state)"
            )
        trees = [
            leaves_like(treedef, f"state.{k}", getattr(inner, k), "updates") for k in Slots._fields
        ]
        rows = zip(*trees, strict=True) if trees else [()] * treedef.num_leaves
        return self.count(state), [Slots(*row) for row in rows]


@functools.cache
def _slots_of(State: Any) -> Any:
    """The named tuple of one parameter's slots: a state's fields but the count."""
    return collections.namedtuple("Slots", [name for name in State._fields if name != "count"])


def _direct(
    prepared: Any, path: str, grad: jax.Array, slots: Any, param: Any
) -> tuple[jax.Array, Any]:
    """A rule's direction and slots for one leaf, computed wide and returned in their own dtypes.

    Args:
        prepared: gives the rule with its numbers, and what it makes of the count, in a dtype.
    """
    wide = computing_dtype(grad.dtype, *([] if param is None else [jnp.result_type(param)]))
    real = jnp.finfo(wide).dtype
    # Moments of complex leaves are real or complex: these may mix, nothing else may.
    mixing = jnp.issubdtype(wide, jnp.complexfloating)
    with jax.numpy_dtype_promotion("standard") if mixing else contextlib.nullcontext():
        rule, t = prepared(real)
        direction, new = rule.direct(
            cast(grad, wide),
            type(slots)(*(_widen(slot, wide, real) for slot in slots)),
            None if param is None else cast(jnp.asarray(param), wide),
            t,
        )
    kept = {name: _stored(path, name, new[name], slot) for name, slot in slots._asdict().items()}
    return cast(direction, grad.dtype), type(slots)(**kept)


def _stored(path: str, name: str, new: jax.Array, slot: jax.Array) -> jax.Array:
    # Without params nothing else sees that a gradient has broadcast its slots.
    same_shape(path, new.shape, slot.shape, f"state.{name}")
    if jnp.iscomplexobj(new) and not jnp.iscomplexobj(slot):
        raise TypeError(
            f"{path} is complex, but its state.{name} is {slot.dtype}, which would lose the"
            " imaginary part; choose a complex dtype for it, or None"
        )
    return cast(new, slot.dtype)


def _widen(slot: jax.Array, wide: Any, real: Any) -> jax.Array:
    if jnp.issubdtype(slot.dtype, jnp.complexfloating):
        return cast(slot, wide)
    return cast(slot, real) if jnp.issubdtype(slot.dtype, jnp.floating) else slot


@dataclasses.dataclass(frozen=True)
class Flags:
    """A hashable tree of flags, or a function of the parameters that gives one.

    Attributes:
        given: the function, or the tree's leaves.
        structure: the tree's structure; None for a function.
    """

    given: Callable[[Any], Any] | tuple[bool, ...]
    structure: Any = None

    def flags(self, tree: Any) -> list[bool]:
        """A flag for every leaf of ``tree``; one may stand for a whole subtree.

        Raises:
            ValueError: the flags are no prefix of the tree.
        """
        told = self.given(tree) if callable(self.given) else self.tree()
        try:
            return self._spread(told, tree)
        except (ValueError, TypeError) as error:
            raise ValueError(f"mask is no tree of flags for the parameters: {error}") from error

    def _spread(self, told: Any, tree: Any) -> list[bool]:
        found: list[bool] = []
        jax.tree.map(
            lambda flag, sub: found.extend([bool(flag)] * len(jax.tree.leaves(sub))), told, tree
        )
        return found

    def tree(self) -> Any:
        return self.structure.unflatten(self.given)

    def __repr__(self) -> str:
        return (
            getattr(self.given, "__qualname__", "function")
            if callable(self.given)
            else repr(self.tree())
        )


def _as_flags(mask: Any) -> Flags:
    if callable(mask) or isinstance(mask, Flags):
        return mask if isinstance(mask, Flags) else Flags(mask)
    leaves, structure = jax.tree.flatten(mask)
    return Flags(tuple(map(bool, leaves)), structure)


Mask = Annotated[Any, Field(convert=_as_flags, static=True)]
"""The leaves meant: a tree of flags, a prefix of one, or a function of the parameters."""
