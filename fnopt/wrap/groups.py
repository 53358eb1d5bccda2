"""Which parameters get what: ordered rules of paths."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax

from fnopt.core import Inner, Static, Transform
from fnopt.core.checks import refuse_state
from fnopt.core.transform import any_evaluates
from fnopt.core.types import OptState, Params
from fnopt.wrap.paths import Pattern, show
from fnopt.wrap.split import Split
from fnopt.wrap.treatments import (
    FROZEN,
    Treatments,
    applied,
    as_given,
    changes_rate,
    check,
    tell,
    transform_of,
)


class GroupsState(NamedTuple):
    """The states of the groups, in the order of their rules."""

    inner_states: tuple[Any, ...]


class groups(Transform):
    """Transforms for groups of parameters, told apart by their paths.

    A rule is a pair: which leaves, and what they get. The first that matches a leaf wins. ::

        tx = groups(
            ("embed/*", "freeze"),
            (("*/bias", "*/scale"), {"weight_decay": 0.0}),
            ("backbone/*", 0.1),
            (lambda path, leaf: leaf.ndim == 4, sgd(0.1, momentum=0.9)),
            ("*", {}),
            base=adamw(1e-3, weight_decay=0.1),
        )
        print(tx.table(params))

    Which leaves: a glob of the path (``*`` stands for any text, slashes too; ``*/bias`` matches
    ``bias`` at the top as well), a tuple of globs, or a function of path and leaf. A path is
    ``jax.tree_util.keystr(path, simple=True, separator="/")``, as ``layers/0/kernel``, without the
    ``value`` that the variables of Flax NNX add; so a rule fits NNX and Linen alike.

    What they get: ``"freeze"`` (an update of 0, and no state); a number or a schedule that
    multiplies the updates of ``base``, hence its learning rate and its decay; a dict of numbers in
    the place of those of ``base``, with such a number as ``"multiplier"`` if wanted; or a transform
    of their own.

    Every group is an optimizer of its own: what a method computes over all leaves (a norm, a
    distance) is then over those of the group. Clipping by the norm of all stands before the groups:
    ``chain(clip_by_global_norm(1.0), groups(...))``. All numbers are leaves, the multipliers too,
    so that a sweep or a gradient goes over them.

    Args:
        *rules: pairs, in the order in which they are tried.
        patterns, treatments: their two halves, as ``replace`` takes them.
        base: the transform that numbers and dicts change.

    Raises:
        TypeError: a rule is no pair, or gives none of these.
        ValueError: ``base`` is wanting, or has no such number; in ``init`` and ``update``, a rule
            matches nothing, or no rule a leaf.

    >>> import fnopt, jax.numpy as jnp
    >>> params = {"dense": {"kernel": jnp.ones((2, 3)), "bias": jnp.ones(3)}, "scale": jnp.ones(2)}
    >>> tx = fnopt.groups(("scale", "freeze"), ("*/bias", 2.0), ("*", {}), base=fnopt.sgd(0.1))
    >>> print(tx.table(params))
    path          shape   parameters  rule    gets
    dense/bias    (3,)             3  */bias  base, multiplier=2.0
    dense/kernel  (2, 3)           6  *       base
    scale         (2,)             2  scale   frozen
    total                         11          frozen: 2
    base: sgd(learning_rate=0.1, nesterov=False)
    """

    patterns: Static[tuple[Pattern, ...]]
    treatments: Treatments
    base: Inner = None

    def __init__(
        self, *rules: Any, patterns: Any = (), treatments: Any = (), base: Any = None
    ) -> None:
        for rule in rules:
            if not isinstance(rule, tuple) or len(rule) != 2:
                raise TypeError(f"groups: a rule is a pair (which, what), got {rule!r}")
        patterns = tuple(which for which, _ in rules) or tuple(patterns)
        object.__setattr__(self, "patterns", patterns)
        object.__setattr__(self, "treatments", [what for _, what in rules] or treatments)
        object.__setattr__(self, "base", base)
        self.__post_init__()
        for pattern, treatment in zip(self.patterns, self.treatments, strict=True):
            check(show(pattern), treatment, self.base)

    def transforms(self) -> tuple[Transform, ...]:
        """The transform of each rule."""
        return tuple(transform_of(treatment, self.base) for treatment in self.treatments)

    def init(self, params: Any) -> GroupsState:
        split = Split(self.patterns, params)
        transforms = enumerate(self.transforms())
        return GroupsState(tuple(tx.init(split.part(i, params)) for i, tx in transforms))

    def update(
        self, updates: Any, state: Any, params: Any = None, **extra_args: Any
    ) -> tuple[Any, Any]:
        if getattr(state, "_fields", None) != GroupsState._fields:
            refuse_state(self, state)
        split = Split(self.patterns, updates if params is None else params)
        states, given = [], updates
        for i, (tx, inner) in enumerate(zip(self.transforms(), state.inner_states, strict=True)):
            part, inner = tx.update(
                split.part(i, given),
                inner,
                None if params is None else split.part(i, params),
                **split.arguments(i, params, extra_args),
            )
            updates = split.joined(i, part, updates)
            states.append(inner)
        return updates, GroupsState(tuple(states))

    def eval_params(self, state: OptState, params: Params) -> Params:
        split, evaluated = Split(self.patterns, params), params
        for i, (tx, inner) in enumerate(zip(self.transforms(), state.inner_states, strict=True)):
            part = split.part(i, params)
            of_part = tx.eval_params(inner, part)
            if of_part is not part:
                evaluated = split.joined(i, of_part, evaluated)
        return evaluated

    @property
    def evaluates(self) -> bool | None:
        return any_evaluates(self.transforms())

    @property
    def leafwise(self) -> bool:
        return all(tx.leafwise for tx in self.transforms())

    def frozen(self, params: Any) -> Any:
        split, flags = Split(self.patterns, params), super().frozen(params)
        for i, tx in enumerate(self.transforms()):
            flags = split.joined(i, tx.frozen(split.part(i, params)), flags)
        return flags

    def count(self, state: Any) -> jax.Array | None:
        counts = (tx.count(s) for tx, s in zip(self.transforms(), state.inner_states, strict=True))
        return next((count for count in counts if count is not None), None)

    def hyperparameters(self, state: Any, **extra_args: Any) -> dict[str, Any]:
        """As of any transform, each name with its rule before it; ``learning_rate`` is base's."""
        told: dict[str, Any] = {}
        for place, (pattern, treatment, inner) in enumerate(
            zip(self.patterns, self.treatments, state.inner_states, strict=True)
        ):
            label = f"{place}:{show(pattern)}" if callable(pattern) else show(pattern)
            names = applied(treatment, self.base, inner, extra_args)
            told |= {f"{label}.{name}": value for name, value in names.items()}
            if "learning_rate" in names and not changes_rate(treatment, self.base):
                told.setdefault("learning_rate", names["learning_rate"])
        return told

    def table(self, params: Any) -> str:
        """Who gets what, a line for every leaf; parameters may be shapes alone.

        Raises:
            ValueError: as ``init``.
        """
        table = Split(self.patterns, params).table(list(map(tell, self.treatments)), FROZEN)
        return table if self.base is None else f"{table}\nbase: {self.base!r}"

    def __repr__(self) -> str:
        shown = [
            f"({show(which) if callable(which) else repr(which)}, {as_given(what)!r})"
            for which, what in zip(self.patterns, self.treatments, strict=True)
        ]
        base = [] if self.base is None else [f"base={self.base!r}"]
        return f"groups({', '.join(shown + base)})"
