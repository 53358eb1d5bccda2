"""What a transform promises for each parameter: frozen, leafwise, elementwise, keeping zeros."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Hashable, Iterable, Sequence
from typing import Any

import jax

from fnopt.core.packed_trees import the_same
from fnopt.core.types import Params, PyTree


@dataclasses.dataclass(frozen=True)
class LeafPlan:
    """What a transform promises for one parameter; False promises nothing.

    It is no pytree: a tree of plans has them as leaves.

    Attributes:
        frozen: its update is 0 for any gradient, and no other leaf's update depends on its
            gradient, which therefore need not be computed.
        leafwise: its update depends on no other leaf, and no other leaf's update on it.
        elementwise: the formula acts on each element alone, up to numbers that all leaves share.
            The leaf may therefore lie anywhere: reshaped, or packed with others of its label.
        keeps_zero: an update that is zero at every step stays zero.
        label: leaves of one label, shape and dtype are treated in the same way, so that they may
            be exchanged, or, where they are leafwise, stacked.
        slots: a part whose formula is elementwise keeps slots for it.
        buffer: leaves of one value may be packed together: the elementwise parts treat them alike,
            and the others see them unpacked.
    """

    frozen: bool = False
    leafwise: bool = False
    elementwise: bool = False
    keeps_zero: bool = False
    label: Hashable = None
    slots: bool = False
    buffer: Hashable = None

    def then(self, after: LeafPlan) -> LeafPlan:
        """The plan of this transform followed by another.

        Args:
            after: the other transform's plan for the same leaf.
        """
        return LeafPlan(
            frozen=(self.frozen and after.keeps_zero) or (self.leafwise and after.frozen),
            leafwise=self.leafwise and after.leafwise,
            elementwise=self.elementwise and after.elementwise,
            keeps_zero=(self.keeps_zero and after.keeps_zero) or after.frozen,
            label=(self.label, after.label),
            slots=self.slots or after.slots,
            buffer=(self.buffer, after.buffer),
        )

    def within(self, wrapper: LeafPlan) -> LeafPlan:
        """The plan of a wrapper around this transform.

        Args:
            wrapper: the wrapper's own part: whether it keeps leaves and elements apart, and leaves
                an inner update of zero at zero.
        """
        # Unlike what follows in a chain, a wrapper sees the gradient itself.
        frozen = self.frozen and wrapper.leafwise and wrapper.keeps_zero
        slots = self.slots and wrapper.elementwise  # what is inside any other is not packed
        return dataclasses.replace(self.then(wrapper), frozen=frozen, slots=slots)

    def labelled(self, label: Hashable) -> LeafPlan:
        """This plan with one more label before its own."""
        return dataclasses.replace(self, label=(label, self.label), buffer=(label, self.buffer))

    @staticmethod
    def of_buffer(paths: Sequence[str], plans: Sequence[LeafPlan]) -> LeafPlan:
        """The plan of leaves that are packed together.

        Raises:
            ValueError: they may not be.
        """
        the_same(paths, [(plan.buffer, plan.frozen) for plan in plans])
        return dataclasses.replace(
            plans[0],
            leafwise=all(plan.leafwise for plan in plans),
            elementwise=all(plan.elementwise for plan in plans),
            keeps_zero=all(plan.keeps_zero for plan in plans),
            label=tuple(dict.fromkeys(plan.label for plan in plans)),
        )


UNTOUCHED = LeafPlan(
    leafwise=True, elementwise=True, keeps_zero=True, label="untouched", buffer="untouched"
)
"""The plan of a leaf whose updates pass as they are."""


def plan_by(transform: Any, params: Params) -> PyTree:
    """The same plan for every leaf, from the class attributes of a transform.

    Args:
        transform: its ``leafwise``, ``elementwise``, ``keeps_zero`` and ``alike`` are taken. Where
            it may treat leaves differently, a leaf's label is its path.
        params: the parameters; shapes suffice.

    Returns:
        A tree of :class:`LeafPlan` like ``params``.
    """
    same = LeafPlan(
        leafwise=transform.leafwise,
        elementwise=transform.elementwise,
        keeps_zero=transform.keeps_zero,
        slots=transform.packs and transform.has_slots,
    )
    if transform.alike:
        return jax.tree.map(lambda param: same, params)
    own = LeafPlan.labelled if transform.packs else _labelled_unpacked
    return jax.tree_util.tree_map_with_path(
        lambda path, param: own(same, jax.tree_util.keystr(path)), params
    )


def _labelled_unpacked(plan: LeafPlan, label: Hashable) -> LeafPlan:
    return dataclasses.replace(plan, label=(label, plan.label))


def plan_in_turn(transforms: Iterable[Any], params: Params) -> PyTree:
    """The plan of transforms one after the other.

    Args:
        transforms: fnopt's transforms, in the order of their application.
        params: the parameters; shapes suffice.

    Returns:
        A tree of :class:`LeafPlan` like ``params``.
    """
    plans = [jax.tree.map(lambda param: UNTOUCHED, params), *(tx.plan(params) for tx in transforms)]
    return functools.reduce(lambda tree, after: jax.tree.map(LeafPlan.then, tree, after), plans)


def frozen_of(tx: Any, params: Params) -> PyTree:
    """For each parameter a flag, whether its gradient need not be computed.

    Args:
        tx: the optimizer, of fnopt or of optax; of optax's nothing is known.
        params: the parameters; shapes suffice.

    Returns:
        A tree of bool like ``params``.
    """
    if not hasattr(tx, "plan"):
        return jax.tree.map(lambda param: False, params)
    return jax.tree.map(lambda plan: plan.frozen, tx.plan(params))
