"""What a rule is: a transform told leaf by leaf, with everything tree-shaped derived once."""

from __future__ import annotations

import collections
import contextlib
import functools
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import optax

from fnopt.core.checks import (
    float_leaves,
    leaves_like,
    refuse_state,
    same_kind,
    same_names,
    same_shape,
)
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
    shared: ClassVar[tuple[str, ...]] = ()
    """Fields of the state that are one value for all leaves, as the count is (see ``Joint``)."""
    needs_params: ClassVar[bool] = False
    """Whether the formula needs the parameter."""
    mask = None  # no annotation, lest it be a field
    """Which leaves the rule is for; a subclass with ``mask: Mask = None`` lets the user say."""

    def slots(self, param: jax.Array) -> dict[str, jax.Array]:
        """The slots of one parameter before the first update: arrays, or containers of them."""
        return {}

    def begin(self, params: list[jax.Array]) -> dict[str, Any]:
        """What all leaves share, before the first update."""
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

    def kept_in(self, dtype: Any) -> Rule:
        """The rule for a leaf that is kept in this dtype; this one unless overridden."""
        return self

    def given_all(self, grads: list[jax.Array]) -> Rule:
        """The rule for each leaf, now that all gradients are known; this one unless overridden."""
        return self

    @property
    def evaluates(self) -> bool | None:
        return False

    @property
    def leafwise(self) -> bool:
        kind = type(self)
        changed = kind.update, kind._step, kind.given_all
        return changed == (Rule.update, Rule._step, Rule.given_all)

    def init(self, params: Any) -> Any:
        _, leaves, treedef = float_leaves("params", params)
        Slots, rule = self._slots_type(), at_count(self, jnp.zeros((), jnp.int32))
        left_out = Slots(*(optax.MaskedNode() for _ in Slots._fields))
        rows = [left_out] * len(leaves)
        for i in filter(self._chosen(params, len(leaves)).__getitem__, range(len(leaves))):
            slots = rule.slots(leaves[i])
            same_names(f"{type(self).__name__}: what slots returns", slots, Slots._fields)
            rows[i] = Slots(**slots)
        return self._pack(jnp.zeros((), jnp.int32), rule.begin(leaves), rows, treedef)

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
        chosen = self._chosen(updates if params is None else params, len(grads))
        for i, param in enumerate(like):
            if param is not None and chosen[i]:
                same_shape(paths[i], grads[i].shape, jnp.shape(param), "parameter")
        count, shared, rows = self._unpack(state, treedef)
        next_count = None if count is None else optax.safe_increment(count)
        leaves = Leaves(paths, grads, rows, like, chosen)
        shared = self._step(leaves, shared, count, next_count, extra_args)
        return treedef.unflatten(grads), self._pack(next_count, shared, rows, treedef)

    def _step(
        self, leaves: Leaves, shared: Any, count: Any, next_count: Any, extra_args: dict[str, Any]
    ) -> Any:
        """Puts directions and next slots in the place of gradients and slots."""
        grads, rows = leaves.grads, leaves.rows
        rule = at_count(self, count).given_all(grads)

        @functools.cache
        def prepared(real: Any) -> tuple[Rule, Any]:
            numbers = at_count(rule, None, real)
            return numbers, None if next_count is None else numbers.once(
                cast(jnp.asarray(next_count), real)
            )

        for i in filter(leaves.chosen.__getitem__, range(len(grads))):
            grads[i], rows[i] = _direct(
                prepared, leaves.paths[i], grads[i], rows[i], leaves.params[i]
            )
        return shared

    def count(self, state: Any) -> jax.Array | None:
        # By its fields: every tuple has a method of this name.
        return state.count if "count" in state._fields else None

    def _scheduled(self) -> bool:
        return any(map(is_schedule, vars(self).values()))

    def _chosen(self, tree: Any, size: int) -> list[bool]:
        return [True] * size if self.mask is None or not size else self.mask.flags(tree)

    def _slots_type(self) -> Any:
        return _slots_of(self.State, self.shared)

    def _pack(self, count: Any, shared: Any, rows: list[Any], treedef: Any) -> Any:
        """The state that holds a count, what is shared and a row of slots for every leaf."""
        slots = {
            name: treedef.unflatten([getattr(row, name) for row in rows])
            for name in self._slots_type()._fields
        }
        if "count" in self.State._fields:
            return self.State(count=count, **shared, **slots)
        if not self._scheduled():
            return self.State(**shared, **slots)
        if not slots and not shared:
            return optax.ScaleByScheduleState(count)
        return ScheduledState(count, self.State(**shared, **slots))

    def _unpack(self, state: Any, treedef: Any) -> tuple[Any, dict[str, Any], list[Any]]:
        """The count, None if there is none, what is shared, and the rows."""
        Slots = self._slots_type()
        inner = state.inner_state if isinstance(state, ScheduledState) else state
        held = {*getattr(state, "_fields", ()), *getattr(inner, "_fields", ())} - {"inner_state"}
        wanted = {*self.State._fields, *(["count"] if self._scheduled() else [])}
        # optax's users give a part without state whatever is empty.
        empty = not wanted and not jax.tree.leaves(state)
        if not empty and (held != wanted or not hasattr(state, "_fields")):
            refuse_state(self, state)
        trees = [
            leaves_like(treedef, f"state.{k}", getattr(inner, k), "updates") for k in Slots._fields
        ]
        rows = zip(*trees, strict=True) if trees else [()] * treedef.num_leaves
        shared = {name: getattr(inner, name) for name in self.shared}
        count = self.count(state) if "count" in wanted else None
        return count, shared, [Slots(*row) for row in rows]


class Leaves(NamedTuple):
    """What an update has of every leaf, in the order of the leaves."""

    paths: list[str]
    grads: list[jax.Array]
    rows: list[Any]
    params: list[Any]
    chosen: list[bool]


@functools.cache
def _slots_of(State: Any, shared: tuple[str, ...]) -> Any:
    """The named tuple of one parameter's slots: a state's fields but those of all leaves."""
    names = [name for name in State._fields if name != "count" and name not in shared]
    return collections.namedtuple("Slots", names)


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
        result = rule.kept_in(grad.dtype if param is None else jnp.result_type(param)).direct(
            cast(grad, wide),
            widened(slots, wide, real),
            None if param is None else cast(jnp.asarray(param), wide),
            t,
        )
    if not isinstance(result, tuple) or len(result) != 2:
        raise TypeError(
            f"{type(rule).__name__}: direct must return a pair, the direction and a dict of the"
            f" next slots, got {result!r:.99} for {path}"
        )
    return settled(rule, path, grad, result[0]), stored(rule, path, result[1], slots)


def settled(rule: Any, path: str, grad: jax.Array, direction: Any) -> jax.Array:
    """A direction in the dtype of the gradient; refused by its path if it is not like it."""
    what = f"{type(rule).__name__}: the direction of {path}"
    same_shape(what, jnp.shape(direction), grad.shape, "gradient")
    same_kind(what, direction, grad, "gradient")
    return cast(jnp.asarray(direction), grad.dtype)


def widened(slots: Any, wide: Any, real: Any) -> Any:
    """A row of slots in the precision of the computation."""

    def widen(slot: Any) -> Any:
        if not isinstance(slot, jax.Array):
            return jax.tree.map(widen, slot)
        if jnp.issubdtype(slot.dtype, jnp.complexfloating):
            return cast(slot, wide)
        return cast(slot, real) if jnp.issubdtype(slot.dtype, jnp.floating) else slot

    return type(slots)(*map(widen, slots))


def stored(rule: Any, path: str, row: Any, slots: Any) -> Any:
    """A row of new slots in the dtypes of the old."""
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
