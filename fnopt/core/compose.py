"""Optimizers composed of parts: named compositions and chains."""

from __future__ import annotations

import collections
from collections.abc import Sequence
from types import GeneratorType
from typing import Annotated, Any

import jax
import jax.numpy as jnp
from optax import GradientTransformation

from fnopt.core.calls import Call, Steps, run
from fnopt.core.checks import brief, float_leaves, refuse_state, updates_of
from fnopt.core.fields import Field, Static
from fnopt.core.moments import cast, computing_dtype
from fnopt.core.outcome import Outcome, outcome_in_turn
from fnopt.core.plan import plan_in_turn
from fnopt.core.transform import Transform, any_evaluates, as_transform, foreign
from fnopt.core.types import OptState, Params, PyTree, Updates


class Composed(Transform):
    """A transform that is other transforms one after the other.

    A subclass has the method's hyperparameters as fields and returns its parts::

        class sgd(Composed):
            learning_rate: Rate

            def parts(self):
                return (scale_by_learning_rate(self.learning_rate),)

    Its state is the tuple of its parts' states, as that of ``optax.chain``. Between its parts the
    updates have the precision of the computation, float32 at least; they are rounded once.
    """

    def parts(self) -> tuple[Transform, ...]:
        """The transforms, in the order of their application."""
        raise NotImplementedError

    @classmethod
    def undefined(cls) -> str:
        own = cls.parts is not Composed.parts or cls.update is not Composed.update
        return "" if own else "parts(self), which returns a tuple of transforms"

    @property
    def packs(self) -> bool:
        return True  # each part sees them as it can

    def init(self, params: Params) -> OptState:
        return tuple(part.init(params) for part in self._parts())

    def update(
        self, updates: Updates, state: OptState, params: Params = None, **extra_args: Any
    ) -> tuple[Updates, OptState]:
        return run(self.steps(updates, state, params, **extra_args))

    def steps(
        self, updates: Updates, state: OptState, params: Params = None, **extra_args: Any
    ) -> Steps:
        """The calls of the parts that ``update`` consists of."""
        parts, new_state = self.parts_with(state), []
        _, leaves, treedef = float_leaves("updates", updates)
        dtypes = [leaf.dtype for leaf in leaves]
        wide = [computing_dtype(dtype) for dtype in dtypes]
        updates = treedef.unflatten(leaves)
        for part, part_state in parts:
            # optax's parts keep moments in the dtype of the updates they receive.
            updates = _cast_all(updates, dtypes if isinstance(part, foreign) else wide)
            new, part_state = yield Call(part, updates, part_state, params, extra_args)
            updates = updates_of(part, new, updates, params)
            new_state.append(part_state)
        return _cast_all(updates, dtypes), tuple(new_state)

    def plan(self, params: Params) -> PyTree:
        return plan_in_turn(self._parts(), params)

    @property
    def evaluates(self) -> bool | None:
        return any_evaluates(self._parts())

    def eval_params(self, state: OptState, params: Params) -> Params:
        for part, part_state in self.parts_with(state):
            params = part.eval_params(part_state, params)
        return params

    def outcome(self, state: OptState) -> Outcome | None:
        return outcome_in_turn([part.outcome(own) for part, own in self.parts_with(state)])

    def count(self, state: OptState) -> jax.Array | None:
        counts = (part.count(part_state) for part, part_state in self.parts_with(state))
        return next((count for count in counts if count is not None), None)

    def parts_with(self, state: OptState) -> list[tuple[Transform, OptState]]:
        """The transforms, each with its part of a state.

        Raises:
            ValueError: the state is that of another optimizer.
        """
        parts = self._parts()
        # A named tuple is a state of one transform.
        if not isinstance(state, tuple) or hasattr(state, "_fields") or len(parts) != len(state):
            refuse_state(self, state)
        return list(zip(parts, state, strict=True))

    def _parts(self) -> tuple[Transform, ...]:
        parts = self.parts()
        # A transform is a tuple, of two functions.
        if isinstance(parts, GradientTransformation) or not isinstance(parts, (tuple, list)):
            raise TypeError(
                f"{type(self).__name__}: parts must return a tuple of transforms, got"
                f" {brief(parts)}; of one transform it is (transform,), with a comma"
            )
        if all(isinstance(part, Transform) for part in parts):
            return tuple(parts)
        try:
            return tuple(map(as_transform, parts))
        except TypeError as error:
            raise TypeError(f"{type(self).__name__}: in what parts returns: {error}") from None


def _cast_all(tree: PyTree, dtypes: Sequence[Any]) -> Any:
    leaves, structure = jax.tree.flatten(tree)
    pairs = zip(leaves, dtypes, strict=True)
    return structure.unflatten([cast(jnp.asarray(leaf), dtype) for leaf, dtype in pairs])


Parts = Annotated[
    Any,
    Field(
        convert=lambda parts: tuple(map(as_transform, parts)),
        shown="Sequence[GradientTransformation]",
    ),
]
Names = Static[tuple[str, ...]]


class chain(Composed):
    """Transforms one after the other, of fnopt or of optax; optax's are structure, not leaves.

    Args:
        *transforms: the transforms, in the order of their application.

    Raises:
        TypeError: an argument is no transform.

    >>> import fnopt
    >>> fnopt.chain(fnopt.clip(1.0), fnopt.sgd(0.1))
    chain(clip(max_delta=1.0), sgd(learning_rate=0.1, nesterov=False))
    """

    transforms: Parts
    family = "wrappers"

    def __init__(self, *args: GradientTransformation, transforms: Any = ()) -> None:
        if len(args) == 1 and type(args[0]) in (list, tuple, GeneratorType):
            raise TypeError(
                f"chain takes transforms one by one, got a {type(args[0]).__name__}; write"
                " chain(*transforms)"
            )
        object.__setattr__(self, "transforms", args or transforms)
        self.__post_init__()

    def parts(self) -> tuple[Transform, ...]:
        return self.transforms

    def hyperparameters(self, state: OptState, **extra_args: Any) -> dict[str, Any]:
        labels = [type(part).__name__ for part in self.transforms]
        return merge(labels, _of_parts(self.parts_with(state), extra_args))

    def __repr__(self) -> str:
        return f"chain({', '.join(map(repr, self.transforms))})"


class named_chain(Composed):
    """A chain whose parts have names, by which its state is a dict.

    Args:
        *named: pairs of a name and a transform.

    Raises:
        ValueError: two parts have one name.
    """

    transforms: Parts
    names: Names
    family = "wrappers"

    def __init__(
        self, *args: tuple[str, GradientTransformation], transforms: Any = (), names: Any = ()
    ) -> None:
        names = tuple(name for name, _ in args) or tuple(names)
        if not all(isinstance(name, str) for name in names):
            raise TypeError("named_chain: give pairs of a name and a transform; chain takes none")
        if len(set(names)) != len(names):
            raise ValueError(f"named_chain: the names must differ, got {list(names)}")
        object.__setattr__(self, "transforms", [part for _, part in args] or transforms)
        object.__setattr__(self, "names", names)
        self.__post_init__()

    def parts(self) -> tuple[Transform, ...]:
        return self.transforms

    def init(self, params: Params) -> OptState:
        return self._named(super().init(params))

    def update(
        self, updates: Updates, state: OptState, params: Params = None, **extra_args: Any
    ) -> tuple[Updates, OptState]:
        updates, states = super().update(updates, self._states(state), params, **extra_args)
        return updates, self._named(states)

    def count(self, state: OptState) -> jax.Array | None:
        return super().count(self._states(state))

    def eval_params(self, state: OptState, params: Params) -> Params:
        return super().eval_params(self._states(state), params)

    def hyperparameters(self, state: OptState, **extra_args: Any) -> dict[str, Any]:
        return merge(self.names, _of_parts(self.parts_with(self._states(state)), extra_args))

    def _named(self, states: Any) -> dict[str, Any]:
        # Ordered, as optax's: a plain dict would lose the order of the parts in a tree.map.
        return collections.OrderedDict(zip(self.names, states, strict=True))

    def _states(self, state: OptState) -> tuple[Any, ...]:
        if not isinstance(state, dict) or set(state) != set(self.names):
            refuse_state(self, state)
        return tuple(state[name] for name in self.names)

    def __repr__(self) -> str:
        pairs = zip(self.names, self.transforms, strict=True)
        return f"named_chain({', '.join(map(repr, pairs))})"


def merge(labels: Sequence[str], of_parts: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The hyperparameters of several transforms, each under its own name; rates multiply.

    Args:
        labels: the names of the transforms; those that appear twice get their position.
        of_parts: the hyperparameters of each transform.
    """
    shared = collections.Counter(name for numbers in of_parts for name in numbers)
    times = collections.Counter(labels)
    merged: dict[str, Any] = {}
    for i, (label, numbers) in enumerate(zip(labels, of_parts, strict=True)):
        label = f"{label}[{i}]" if times[label] > 1 else label
        for name, value in numbers.items():
            if name == "learning_rate":
                merged[name] = merged[name] * value if name in merged else value
            else:
                merged[name if shared[name] == 1 else f"{label}.{name}"] = value
    return merged


def _of_parts(parts: Any, extra_args: dict[str, Any]) -> list[dict[str, Any]]:
    return [part.hyperparameters(part_state, **extra_args) for part, part_state in parts]
