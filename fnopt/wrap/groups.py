"""Groups of parameters, chosen by their paths, each with its own treatment."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax

from fnopt.core import Inner, Static, Transform
from fnopt.core.calls import Call
from fnopt.core.checks import brief, refuse_state
from fnopt.core.select import Pattern, show
from fnopt.core.transform import any_evaluates
from fnopt.core.types import OptState, Params, PyTree, Updates
from fnopt.wrap.lockstep import in_lockstep
from fnopt.wrap.split import Split
from fnopt.wrap.treatments import (
    FROZEN,
    Treatment,
    Treatments,
    applied,
    as_written,
    changes_rate,
    check,
    describe,
    transform_of,
)


class GroupsState(NamedTuple):
    """The states of the groups, in the order of their assignments."""

    inner_states: tuple[Any, ...]


class groups(Transform):
    """Transforms for groups of parameters, which are chosen by their paths.

    An assignment is a pair of a pattern (which leaves) and a treatment (what they get). The first
    that matches a leaf wins. ::

        tx = groups(
            ("embed/*", "freeze"),
            (("*/bias", "*/scale"), {"weight_decay": 0.0}),
            ("backbone/*", 0.1),
            (lambda path, leaf: leaf.ndim == 4, sgd(0.1, momentum=0.9)),
            ("*", {}),
            base=adamw(1e-3, weight_decay=0.1),
        )
        print(tx.table(params))

    A pattern is a glob of the path (``*`` stands for any text, slashes too; ``*/bias`` matches
    ``bias`` at the top as well), a tuple of globs, or a function of path and leaf. A path is
    ``jax.tree_util.keystr(path, simple=True, separator="/")``, as ``layers/0/kernel``, without the
    ``value`` that the variables of Flax NNX add, so that a pattern fits both NNX and Linen.

    A treatment is ``"freeze"`` (an update of 0, and no state); a number or a schedule that
    multiplies the updates of ``base``, hence its learning rate and its decay; a dict of numbers
    that replace those of ``base``, where such a factor may be added as ``"multiplier"``; or a
    transform.

    Every group is a separate optimizer: what a method computes over all leaves (a norm, a
    distance) is then over those of the group. Clipping by the norm of all comes before the groups:
    ``chain(clip_by_global_norm(1.0), groups(...))``. What equal methods for matrices compute of
    each matrix is computed for all groups together. All numbers are leaves, the multipliers too,
    so that a sweep or a gradient goes over them.

    Args:
        *assignments: pairs of a pattern and a treatment, in the order in which they are tried.
        patterns, treatments: the two halves of the assignments, for ``replace``.
        base: the transform that numbers and dicts change.

    Raises:
        TypeError: an assignment is no pair, or its treatment is none of these.
        ValueError: ``base`` is missing, or has no such number; in ``init`` and ``update``, a
            pattern matches no leaf, or no pattern matches a leaf.

    >>> import fnopt, jax.numpy as jnp
    >>> params = {"dense": {"kernel": jnp.ones((2, 3)), "bias": jnp.ones(3)}, "scale": jnp.ones(2)}
    >>> tx = fnopt.groups(("scale", "freeze"), ("*/bias", 2.0), ("*", {}), base=fnopt.sgd(0.1))
    >>> print(tx.table(params))
    path          shape   parameters  pattern  gets
    dense/bias    (3,)             3  */bias   base, multiplier=2.0
    dense/kernel  (2, 3)           6  *        base
    scale         (2,)             2  scale    frozen
    total                         11           frozen: 2
    base: sgd(learning_rate=0.1, nesterov=False)
    """

    patterns: Static[tuple[Pattern, ...]]
    treatments: Treatments
    base: Inner = None
    family = "wrappers"

    def __init__(
        self,
        *assignments: tuple[Pattern, Treatment],
        patterns: Any = (),
        treatments: Any = (),
        base: Any = None,
    ) -> None:
        for pair in assignments:
            if not isinstance(pair, tuple) or len(pair) != 2:
                raise TypeError(
                    "groups: an assignment is a pair (pattern, treatment), got"
                    f" {brief(pair)}{_advice(pair)}"
                )
        patterns = tuple(pattern for pattern, _ in assignments) or tuple(patterns)
        treatments = [treatment for _, treatment in assignments] or treatments
        # A list of globs would not be hashable.
        patterns = tuple(tuple(p) if isinstance(p, list) else p for p in patterns)
        object.__setattr__(self, "patterns", patterns)
        object.__setattr__(self, "treatments", treatments)
        object.__setattr__(self, "base", base)
        self.__post_init__()
        for pattern, treatment in zip(self.patterns, self.treatments, strict=True):
            check(show(pattern), treatment, self.base)

    def transforms(self) -> tuple[Transform, ...]:
        """The transform of each assignment."""
        return tuple(transform_of(treatment, self.base) for treatment in self.treatments)

    @property
    def packs(self) -> bool:
        return True

    def init(self, params: Params) -> GroupsState:
        split = Split(self.patterns, params)
        transforms = enumerate(self.for_params(params).transforms())
        return GroupsState(tuple(tx.init(split.part(i, params)) for i, tx in transforms))

    def update(
        self, updates: Updates, state: OptState, params: Params = None, **extra_args: Any
    ) -> tuple[Updates, OptState]:
        tree = updates if params is None else params
        split = Split(self.patterns, tree)
        calls = [
            Call(
                tx,
                split.part(i, updates),
                inner,
                None if params is None else split.part(i, params),
                split.arguments(i, params, extra_args),
            )
            for i, (tx, inner) in enumerate(self.for_params(tree)._with_states(state))
        ]
        results = in_lockstep(calls, split.treedef)
        for i, (part, _) in enumerate(results):
            updates = split.joined(i, part, updates)
        return updates, GroupsState(tuple(inner for _, inner in results))

    def eval_params(self, state: OptState, params: Params) -> Params:
        split, evaluated = Split(self.patterns, params), params
        for i, (tx, inner) in enumerate(self.for_params(params)._with_states(state)):
            part = split.part(i, params)
            of_part = tx.eval_params(inner, part)
            if of_part is not part:
                evaluated = split.joined(i, of_part, evaluated)
        return evaluated

    @property
    def evaluates(self) -> bool | None:
        return any_evaluates(self.transforms())

    def plan(self, params: Params) -> PyTree:
        split, plans = Split(self.patterns, params), params
        for i, tx in enumerate(self.for_params(params).transforms()):
            own = jax.tree.map(lambda plan, i=i: plan.labelled(i), tx.plan(split.part(i, params)))
            plans = split.joined(i, own, plans)
        return plans

    def count(self, state: OptState) -> jax.Array | None:
        counts = (tx.count(inner) for tx, inner in self._with_states(state))
        return next((count for count in counts if count is not None), None)

    def hyperparameters(self, state: OptState, **extra_args: Any) -> dict[str, Any]:
        """As of any transform, each name after its pattern; ``learning_rate`` is base's."""
        every: dict[str, Any] = {}
        assignments = zip(self.patterns, self.treatments, self._with_states(state), strict=True)
        for i, (pattern, treatment, (_, inner)) in enumerate(assignments):
            label = f"{i}:{show(pattern)}" if callable(pattern) else show(pattern)
            numbers = applied(treatment, self.base, inner, extra_args)
            every |= {f"{label}.{name}": value for name, value in numbers.items()}
            if "learning_rate" in numbers and not changes_rate(treatment, self.base):
                every.setdefault("learning_rate", numbers["learning_rate"])
        return every

    def _with_states(self, state: OptState) -> list[tuple[Transform, OptState]]:
        transforms = self.transforms()
        own = getattr(state, "_fields", None) == GroupsState._fields
        if not own or len(state.inner_states) != len(transforms):
            refuse_state(self, state)
        return list(zip(transforms, state.inner_states, strict=True))

    def table(self, params: Params) -> str:
        """A table with a line for every leaf: path, shape, size, pattern and treatment.

        Args:
            params: the parameters; shapes suffice.

        Raises:
            ValueError: as in ``init``.
        """
        table = Split(self.patterns, params).table(list(map(describe, self.treatments)), FROZEN)
        return table if self.base is None else f"{table}\nbase: {self.base!r}"

    def __repr__(self) -> str:
        shown = [
            f"({show(pattern) if callable(pattern) else repr(pattern)}, {as_written(treatment)!r})"
            for pattern, treatment in zip(self.patterns, self.treatments, strict=True)
        ]
        base = [] if self.base is None else [f"base={self.base!r}"]
        return f"groups({', '.join(shown + base)})"


def _advice(written: Any) -> str:
    """How to write several assignments that came as one."""
    if isinstance(written, dict):
        return "; of a dict from patterns to treatments write groups(*assignments.items(), …)"
    return "; of a list of pairs write groups(*assignments, …)" * isinstance(written, list)
