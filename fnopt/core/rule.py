"""Rules: transforms written as one formula on one leaf; the tree is handled here."""

from __future__ import annotations

import collections
import functools
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import optax

from fnopt.core.checks import brief, float_leaves, leaves_like, refuse_state, same_shape
from fnopt.core.context import Context
from fnopt.core.formula import apply_formula
from fnopt.core.moments import cast
from fnopt.core.plan import UNTOUCHED
from fnopt.core.schedule import is_schedule
from fnopt.core.slots import check_shared, check_slots
from fnopt.core.states import made_state
from fnopt.core.transform import Transform, at_count
from fnopt.core.types import Arrays, LeafUpdate, Numeric, OptState, Params, PyTree, Slots, Updates


class ScheduledState(NamedTuple):
    """The state of a rule that counts only because a schedule in it needs the count."""

    count: jax.Array
    inner_state: Any


_OTHER_GRADIENTS = "take the gradients of all these parameters"
_OTHER_PARAMETERS = "the state is of other parameters; for these call tx.init(params)"
_FORMULA = (
    "update_leaf(self, grad, slots, param, ctx), which returns a pair: the direction and a dict of"
    " the next slots"
)


class Rule(Transform):
    """A method that is one formula on one array, as most first-order methods are.

    A subclass defines the slots of one parameter and how its gradient, slots, value and the count
    give a direction and the next slots.

    In ``update_leaf`` the fields of ``self`` are numbers (schedules are evaluated at the count).
    They, ``grad``, ``slots``, ``param`` and ``ctx.t`` have one precision: float32, or float64 for
    float64 leaves. What it returns is rounded to the dtypes of the gradient and of the slots. This
    class handles the tree, the layout of the state, dtypes, schedules and masks.

    The state is a named tuple made from the slots, with ``count`` first if ``counts``; a class
    attribute ``State`` chooses another, such as optax's of the same method.

    >>> import jax.numpy as jnp
    >>> from fnopt.core import Decay, Rule, zeros
    >>> class trace(Rule):
    ...     decay: Decay
    ...
    ...     def init_leaf(self, param):
    ...         return {"trace": zeros(param)}
    ...
    ...     def update_leaf(self, grad, slots, param, ctx):
    ...         trace = grad + self.decay * slots.trace
    ...         return trace, {"trace": trace}
    >>> tx = trace(0.9)
    >>> tx.init(jnp.zeros(2))
    TraceState(trace=Array([0., 0.], dtype=float32))
    """

    counts: ClassVar[bool] = False
    """Whether the formula needs the count, ``ctx.t``; where ``State`` is given, that says it."""
    shared: ClassVar[tuple[str, ...]] = ()
    """Fields of the state that are one value for all leaves, as the count is (see ``Joint``)."""
    needs_params: ClassVar[bool] = False
    """Whether the formula needs the parameter."""
    leafwise: ClassVar[bool] = True  # a rule that overrides update must say if it mixes leaves
    alike: ClassVar[bool] = True
    mask = None  # without annotation, so that it is not a field
    """Which leaves the rule is for; a subclass with ``mask: Mask = None`` lets the user choose."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        State = vars(cls).get("State")
        named = isinstance(State, type) and issubclass(State, tuple) and hasattr(State, "_fields")
        if not named and State is not None and not isinstance(State, property):
            raise TypeError(
                f"{cls.__name__}.State must be a named tuple class with a field for each slot, got"
                f" {brief(State)}; leave it out to have one made from the slots"
            )

    @property
    def has_slots(self) -> bool:  # pyright: ignore[reportIncompatibleVariableOverride]
        return type(self).init_leaf is not Rule.init_leaf

    @classmethod
    def undefined(cls) -> str:
        own = cls.update_leaf is not Rule.update_leaf or cls.update is not Rule.update
        return "" if own else _FORMULA

    State: ClassVar[Any] = None
    """A named tuple class with a field for each slot, and ``count`` if the formula needs it.

    It may be a property. None for one made from the slots.
    """

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
        paths, leaves, treedef = float_leaves("params", params)
        flags = self._chosen(params, len(leaves))
        chosen = [i for i, flag in enumerate(flags) if flag]
        State = self._state(leaves[chosen[0]] if chosen else None)
        Slots, rule = _slots_of(State, self.shared), at_count(self, jnp.zeros((), jnp.int32))
        left_out = Slots(*(optax.MaskedNode() for _ in Slots._fields))
        rows = [left_out] * len(leaves)
        own = self.State
        starts = rule._init_leaves(leaves, flags)
        for i in chosen:
            slots = check_slots(self, starts[i], Slots._fields, paths[i], own)
            rows[i], own = Slots(**slots), None
        shared = check_shared(self, rule.init_shared(leaves))
        return self._pack(State, jnp.zeros((), jnp.int32), shared, rows, treedef)

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
            like = leaves_like(treedef, "params", params, "updates", _OTHER_GRADIENTS)
        chosen = self._chosen(updates if params is None else params, len(grads))
        for i, param in enumerate(like):
            if param is not None and chosen[i]:
                same_shape(paths[i], grads[i].shape, jnp.shape(param), "parameter")
        first = next((i for i, flag in enumerate(chosen) if flag), None)
        leaf = None if first is None else grads[first] if like[first] is None else like[first]
        State = self._state(leaf)
        count, shared, rows = self._unpack(State, state, treedef)
        next_count = None if count is None else optax.safe_increment(count)
        leaves = Leaves(paths, grads, rows, like, chosen)
        shared = self._step(leaves, shared, count, next_count, extra_args)
        return treedef.unflatten(grads), self._pack(State, next_count, shared, rows, treedef)

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
            grads[i], rows[i] = apply_formula(
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
        fields = getattr(state, "_fields", None)
        if fields is None and jax.tree.leaves(state):
            refuse_state(self, state)
        return state.count if "count" in (fields or ()) else None

    def _scheduled(self) -> bool:
        return any(map(is_schedule, vars(self).values()))

    def _init_leaves(self, leaves: Arrays, chosen: list[Any]) -> list[Any]:
        """The slots of each leaf that is chosen."""
        pairs = zip(leaves, chosen, strict=True)
        return [self.init_leaf(leaf) if flag else None for leaf, flag in pairs]

    def _chosen(self, tree: PyTree, size: int) -> list[Any]:
        """For each leaf whether the rule is for it: a flag, or what it must know of it."""
        return [True] * size if self.mask is None or not size else self.mask.flags(tree)

    def _state(self, leaf: Any) -> Any:
        """The class of the state; made from the slots of this array if the rule has no own."""
        own = self.State
        if own is not None:
            return own
        counts = self.counts or type(self).precompute is not Rule.precompute
        return made_state(self, counts, leaf)

    def _pack(self, State: Any, count: Any, shared: Any, rows: list[Any], treedef: Any) -> Any:
        """The state that holds a count, what is shared and a row of slots for every leaf."""
        slots = {
            name: treedef.unflatten([getattr(row, name) for row in rows])
            for name in _slots_of(State, self.shared)._fields
        }
        if "count" in State._fields:
            return State(count=count, **shared, **slots)
        if not self._scheduled():
            return State(**shared, **slots)
        if not slots and not shared:
            return optax.ScaleByScheduleState(count)
        return ScheduledState(count, State(**shared, **slots))

    def _unpack(
        self, State: Any, state: OptState, treedef: Any
    ) -> tuple[Any, dict[str, Any], list[Any]]:
        """The count, None if there is none, what is shared, and the rows."""
        Slots = _slots_of(State, self.shared)
        inner = state.inner_state if isinstance(state, ScheduledState) else state
        present = {*getattr(state, "_fields", ()), *getattr(inner, "_fields", ())} - {"inner_state"}
        fields = {*State._fields, *(["count"] if self._scheduled() else [])}
        # optax's users give a part without state any empty container.
        empty = not fields and not jax.tree.leaves(state)
        if not empty and (present != fields or not hasattr(state, "_fields")):
            refuse_state(self, state)
        trees = [
            leaves_like(treedef, f"state.{k}", getattr(inner, k), "updates", _OTHER_PARAMETERS)
            for k in Slots._fields
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
    chosen: list[Any]


@functools.cache
def _slots_of(State: Any, shared: tuple[str, ...]) -> Any:
    """The named tuple of one parameter's slots: a state's fields but those of all leaves."""
    names = [name for name in State._fields if name != "count" and name not in shared]
    return collections.namedtuple("Slots", names)
