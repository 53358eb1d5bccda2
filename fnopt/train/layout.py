"""How a train state lies in memory: as trees, or packed into few buffers and read as trees."""

from __future__ import annotations

import dataclasses
import functools
from types import SimpleNamespace
from typing import Any

import jax
from jax.core import Tracer
from jax.tree_util import GetAttrKey

from fnopt.core.packed_trees import is_packed, packed_like, unpacked
from fnopt.core.packing import Packing
from fnopt.core.transform import as_transform
from fnopt.core.types import Params, PyTree
from fnopt.train.precision import Precision, as_optimizers_see

PACKED = ("params", "model_state", "opt_state", "average_state", "stopping_state")
"""The fields of a train state that may be stored packed."""


class Tree:
    """A field of a state that is read as a tree, and may be stored packed.

    The stored one is in ``vars(state)``.

    Args:
        name: the name of the field.
    """

    def __init__(self, name: str) -> None:
        self.name = name

    def __get__(self, state: Any, owner: type) -> PyTree:
        if state is None:
            return self
        stored = vars(state)[self.name]
        return unpacked(stored) if state.is_packed else stored

    def __set__(self, state: Any, value: PyTree) -> None:
        vars(state)[self.name] = value


@dataclasses.dataclass(frozen=True)
class Stored:
    """The base of a train state: a pytree of its fields as they are stored, packed or not."""

    @property
    def stored(self) -> SimpleNamespace:
        """The fields as they are stored, packed or not."""
        return SimpleNamespace(**vars(self))

    @property
    def stored_eval_params(self) -> Params:
        """:attr:`eval_params` as the parameters are stored, packed or not."""
        fields = vars(self)
        return as_transform(fields["tx"]).eval_params(fields["opt_state"], fields["params"])

    @property
    def is_packed(self) -> bool:
        """Whether small arrays are stored packed."""
        return is_packed(vars(self)["params"])

    def packed(self, precision: Any = None) -> Any:
        """The state with small arrays that are treated alike stored in one buffer.

        A step then hands over and computes few buffers instead of many. Where the optimizer treats
        no two small parameters alike, it is the state itself.

        Args:
            precision: the precision of the steps, as :class:`StepOptions` takes it.
        """
        if self.is_packed:
            return self
        fields = packed_fields(self, Precision.named(precision))
        return self if fields is None else dataclasses.replace(self, **fields)

    def unpacked(self) -> Any:
        """The state with every array stored by itself."""
        return dataclasses.replace(self) if self.is_packed else self

    def tree_flatten_with_keys(self) -> Any:
        fields = vars(self)
        return tuple((GetAttrKey(name), fields[name]) for name in _names(type(self))), None

    def tree_flatten(self) -> Any:
        fields = vars(self)
        return tuple(fields[name] for name in _names(type(self))), None

    @classmethod
    def tree_unflatten(cls, _: None, fields: Any) -> Any:
        state = object.__new__(cls)
        vars(state).update(zip(_names(cls), fields, strict=True))
        return state


@functools.cache
def _names(kind: type) -> tuple[str, ...]:
    return tuple(field.name for field in dataclasses.fields(kind))


def packed_fields(state: Any, precision: Precision | None) -> dict[str, PyTree] | None:
    """The fields of a train state, packed; None where there are no two leaves to be packed.

    Args:
        state: a train state that is not packed.
        precision: the precision of its steps.
    """
    layout = Packing.of(state.tx, as_optimizers_see(state.params, precision))
    if not layout.buffers:
        return None
    params = layout.pack(state.params)
    of_model = Packing.of(None, state.model_state)
    model_state = of_model.pack(state.model_state) if of_model.buffers else state.model_state
    wide = as_optimizers_see(params, precision)
    fields = {"params": params, "model_state": model_state}
    for name, value, args in (
        ("opt_state", state.tx, (wide,)),
        ("average_state", state.average, (params,)),
        ("stopping_state", state.stopping, ((params, model_state),)),
    ):
        if value is not None:
            like = jax.eval_shape(value.init, *args)
            fields[name] = packed_like(getattr(state, name), like)
    return fields


def repacked(state: Any, changes: dict[str, PyTree]) -> dict[str, PyTree] | None:
    """New values of fields, packed as those before; None where they cannot be.

    Args:
        state: a train state that is packed.
        changes: values by the names of the fields.
    """
    if "tx" in changes and jax.tree.structure(changes["tx"]) != jax.tree.structure(state.tx):
        return None  # it may treat other leaves alike
    stored = dict(changes)
    for name in {*changes} & {*PACKED}:
        before = vars(state)[name]
        if _holds_packed(before) and not _holds_packed(changes[name]):
            if not _is_like(changes[name], getattr(state, name)):
                return None
            stored[name] = packed_like(changes[name], before)
    return stored


def _holds_packed(tree: PyTree) -> bool:
    return any(map(is_packed, jax.tree.leaves(tree, is_leaf=is_packed)))


def _is_like(tree: PyTree, other: PyTree) -> bool:
    leaves, others = jax.tree.leaves(tree), jax.tree.leaves(other)
    return len(leaves) == len(others) and all(
        jax.numpy.shape(x) == y.shape for x, y in zip(leaves, others, strict=True)
    )


class Layout:
    """Stores the states of a run packed, or not.

    Args:
        packed: whether to; None where it makes steps faster, see :func:`gains`.
        precision: the precision of the steps.
    """

    def __init__(self, packed: bool | None, precision: Precision | None) -> None:
        if packed is not None and not isinstance(packed, bool):
            raise TypeError(f"packed must be True, False or None, got {packed!r}")
        self.packed, self.precision = packed, precision
        self._stays: Any = None  # the structure of states that are not packed

    def __call__(self, state: Any) -> Any:
        """The state, stored in this way.

        Args:
            state: a train state. Under a trace it stays as it is: packing it belongs before.
        """
        if self.packed is False:
            return state.unpacked()
        if state.is_packed or isinstance(state.step, Tracer):
            return state
        structure = jax.tree.structure(state)
        if self._stays is not None and structure == self._stays:
            return state
        stored = (
            state.packed(self.precision) if self.packed or gains(state, self.precision) else state
        )
        if not stored.is_packed:
            self._stays = structure
        return stored


def gains(state: Any, precision: Precision | None) -> bool:
    """Whether packing makes the steps of a state faster."""
    # Stochastic rounding draws for each leaf.
    return precision is None or precision.rounding == "nearest"
