"""Rules: transforms written as one formula on one leaf; the tree is handled here."""

from __future__ import annotations

import collections
import contextlib
import functools
from collections.abc import Callable
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import optax

from fnopt.core.checks import (
    float_leaves,
    leaves_like,
    refuse_state,
    same_names,
    same_shape,
)
from fnopt.core.context import Context
from fnopt.core.moments import cast, computing_dtype
from fnopt.core.plan import UNTOUCHED
from fnopt.core.schedule import is_schedule
from fnopt.core.slots import round_direction, round_slots, widen_slots
from fnopt.core.transform import Transform, at_count
from fnopt.core.types import Arrays, LeafUpdate, Numeric, OptState, Params, PyTree, Slots, Updates


class ScheduledState(NamedTuple):
    """The state of a rule that counts only because a schedule in it needs the count."""

    count: jax.Array
    inner_state: Any


class Rule(Transform):
    """A method that is one formula on one array, as most first-order methods are.

    A subclass defines the slots of one parameter and how its gradient, slots, value and the count
    give a direction and the next slots::

        class trace(Rule):
            decay: Decay
            State = optax.TraceState

            def init_leaf(self, param):
                return {"trace": zeros(param)}

            def update_leaf(self, grad, slots, param, ctx):
                trace = grad + self.decay * slots.trace
                return trace, {"trace": trace}

    In ``update_leaf`` the fields of ``self`` are numbers (schedules are evaluated at the count).
    They, ``grad``, ``slots``, ``param`` and ``ctx.t`` have one precision: float32, or float64 for
    float64 leaves. What it returns is rounded to the dtypes of the gradient and of the slots. This
    class handles the tree, the layout of the state, dtypes, schedules and masks.
    """

    State: ClassVar[Any] = optax.EmptyState
    """A named tuple of the slots, with ``count`` if the formula needs the count (or a property)."""
    shared: ClassVar[tuple[str, ...]] = ()
    """Fields of the state that are one value for all leaves, as the count is (see ``Joint``)."""
    needs_params: ClassVar[bool] = False
    """Whether the formula needs the parameter."""
    leafwise: ClassVar[bool] = True  # a rule that overrides update must say if it mixes leaves
    alike: ClassVar[bool] = True
    mask = None  # without annotation, so that it is not a field
    """Which leaves the rule is for; a subclass with ``mask: Mask = None`` lets the user choose."""

    def init_leaf(self, param: jax.Array) -> dict[str, Any]:
        """The slots of one parameter before the first update: arrays, or containers of arrays."""
        return {}

    def init_shared(self, params: Arrays) -> dict[str, Any]:
        """The values that all leaves share, by name, before the first update (see ``Joint``)."""
        return {}

    def update_leaf(self, grad: jax.Array, slots: Slots, param: Any, ctx: Context) -> LeafUpdate:
        """The direction of one leaf and a dict of its next slots.

        Args:
            grad: the gradient, or the output of the transforms before this one.
            slots: a named tuple of the leaf's slots.
            param: the parameter; None if ``update`` was called without parameters.
            ctx: the count, what :meth:`precompute` returned, path and dtype of the leaf.
        """
        raise NotImplementedError

    def precompute(self, t: Numeric) -> Any:
        """What the formula needs of the count alone, computed once for all leaves of one dtype.

        It is ``ctx.precomputed`` of every leaf; a named tuple where there are several values.

        Args:
            t: the number of this update, 1 for the first: a scalar in the computation's dtype.
        """
        return None

    @property
    def evaluates(self) -> bool | None:
        return False

    def plan(self, params: Params) -> Any:
        plans, treedef = jax.tree.flatten(super().plan(params))
        chosen = zip(plans, self._chosen(params, len(plans)), strict=True)
        return treedef.unflatten([plan if flag else UNTOUCHED for plan, flag in chosen])

    def init(self, params: Params) -> OptState:
        _, leaves, treedef = float_leaves("params", params)
        Slots, rule = self._slots_type(), at_count(self, jnp.zeros((), jnp.int32))
        left_out = Slots(*(optax.MaskedNode() for _ in Slots._fields))
        rows = [left_out] * len(leaves)
        for i in filter(self._chosen(params, len(leaves)).__getitem__, range(len(leaves))):
            slots = rule.init_leaf(leaves[i])
            same_names(f"{type(self).__name__}: what init_leaf returns", slots, Slots._fields)
            rows[i] = Slots(**slots)
        return self._pack(jnp.zeros((), jnp.int32), rule.init_shared(leaves), rows, treedef)

    def update(
        self, updates: Updates, state: OptState, params: Params = None, **extra_args: Any
    ) -> tuple[Updates, OptState]:
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
        """Writes directions over gradients and next slots over slots; returns what is shared."""
        grads, rows = leaves.grads, leaves.rows
        rule = at_count(self, count)

        @functools.cache
        def in_precision(real: Any) -> tuple[Rule, Context]:
            numbers = at_count(rule, None, real)
            return numbers, numbers._context(next_count, real)

        for i in filter(leaves.chosen.__getitem__, range(len(grads))):
            grads[i], rows[i] = _update_leaf(
                in_precision, leaves.paths[i], grads[i], rows[i], leaves.params[i]
            )
        return shared

    def _context(self, next_count: Any, real: Any) -> Context:
        """The count and what is computed from it, in the dtype of the computation."""
        if next_count is None:
            return Context()
        t = cast(jnp.asarray(next_count), real)
        return Context(t, self.precompute(t))

    def count(self, state: OptState) -> jax.Array | None:
        # By its fields: every tuple has a method of this name.
        return state.count if "count" in state._fields else None

    def _scheduled(self) -> bool:
        return any(map(is_schedule, vars(self).values()))

    def _chosen(self, tree: PyTree, size: int) -> list[bool]:
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

    def _unpack(self, state: OptState, treedef: Any) -> tuple[Any, dict[str, Any], list[Any]]:
        """The count, None if there is none, what is shared, and the rows."""
        Slots = self._slots_type()
        inner = state.inner_state if isinstance(state, ScheduledState) else state
        present = {*getattr(state, "_fields", ()), *getattr(inner, "_fields", ())} - {"inner_state"}
        fields = {*self.State._fields, *(["count"] if self._scheduled() else [])}
        # optax's users give a part without state any empty container.
        empty = not fields and not jax.tree.leaves(state)
        if not empty and (present != fields or not hasattr(state, "_fields")):
            refuse_state(self, state)
        trees = [
            leaves_like(treedef, f"state.{k}", getattr(inner, k), "updates") for k in Slots._fields
        ]
        rows = zip(*trees, strict=True) if trees else [()] * treedef.num_leaves
        shared = {name: getattr(inner, name) for name in self.shared}
        count = self.count(state) if "count" in fields else None
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


def _update_leaf(
    in_precision: Callable[[Any], tuple[Rule, Context]],
    path: str,
    grad: jax.Array,
    slots: Slots,
    param: Any,
) -> tuple[jax.Array, Slots]:
    """A rule's direction and slots for one leaf, computed wide and returned in their own dtypes.

    Args:
        in_precision: gives the rule, its numbers in a real dtype, and the context of this update.
        path: the leaf's path, for errors.
        grad: the gradient.
        slots: a named tuple of the leaf's slots.
        param: the parameter, or None.
    """
    dtype = grad.dtype if param is None else jnp.result_type(param)
    wide = computing_dtype(grad.dtype, dtype)
    real = jnp.finfo(wide).dtype
    # Moments of complex leaves are real or complex: these may mix, nothing else may.
    mixing = jnp.issubdtype(wide, jnp.complexfloating)
    with jax.numpy_dtype_promotion("standard") if mixing else contextlib.nullcontext():
        rule, ctx = in_precision(real)
        result = rule.update_leaf(
            cast(grad, wide),
            widen_slots(slots, wide, real),
            None if param is None else cast(jnp.asarray(param), wide),
            Context(ctx.t, ctx.precomputed, path, dtype),
        )
    if not isinstance(result, tuple) or len(result) != 2:
        raise TypeError(
            f"{type(rule).__name__}: update_leaf must return a pair, the direction and a dict"
            f" of the next slots, got {result!r:.99} for {path}"
        )
    direction = round_direction(rule, path, grad, result[0])
    return direction, round_slots(rule, path, result[1], slots)
