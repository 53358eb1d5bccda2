"""Optimizers for matrices, with another for all other leaves."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, cast

import jax

from fnopt.core import Composed, Transform, add_decayed_weights, chain, scale_by_learning_rate
from fnopt.core.calls import Steps
from fnopt.core.types import OptState, Params, PyTree, Updates
from fnopt.core.value import make
from fnopt.first_order.adamw import adamw
from fnopt.matrix.choice import Matrices, warn_of_guesses
from fnopt.matrix.table import as_seen, cut, laid_out, totals
from fnopt.matrix.view import Seen
from fnopt.wrap.partition import partition


class MatrixOptimizer(Composed):
    """A method for matrices, and another optimizer for vectors, embeddings and heads.

    A subclass has the fields ``learning_rate``, ``weight_decay``, ``mask``, ``matrices`` and
    ``other``, and returns the transforms that give its direction; weight decay and learning rate
    follow them here. Without ``other``, what is no hidden matrix gets AdamW at the same rate.
    """

    takes = ("hidden",)
    """The kinds of leaves that the method is for; see :class:`fnopt.matrix.view.Seen`."""

    family = ""

    if TYPE_CHECKING:  # of subclasses; an annotation would make a field here
        learning_rate = weight_decay = mask = matrices = other = cast(Any, None)

    def direction(self) -> tuple[Transform, ...]:
        """The transforms that give the direction of matrices, up to its sign."""
        raise NotImplementedError

    @classmethod
    def undefined(cls) -> str:
        own = cls.direction is not MatrixOptimizer.direction
        return "" if own else "direction(self), which returns a tuple of transforms"

    def taken(self, params: Params, seen: list[Seen]) -> list[bool]:
        """For each leaf whether it is the method's, for the table.

        Args:
            params: the parameters; shapes suffice.
            seen: how the leaves are seen.
        """
        return [x.kind in self.takes for x in seen]

    def of_matrices(self) -> Transform:
        """The optimizer of matrices."""
        return chain(
            *self.direction(),
            add_decayed_weights(self.weight_decay, self.mask),
            scale_by_learning_rate(self.learning_rate),
        )

    def of_others(self) -> Transform:
        """The optimizer of all other leaves."""
        return adamw(self.learning_rate) if self.other is None else self.other

    def parts(self) -> tuple[Transform, ...]:
        transforms = {"matrices": self.of_matrices(), "other": self.of_others()}
        return (partition(transforms, _Labels(self._rules, self.takes)),)

    def init(self, params: Params) -> OptState:
        name = type(self).__name__
        self._rules.check(name, params)
        seen = self._rules.seen(params)
        warn_of_guesses(name, [x for x in seen if x.kind in self.takes])
        return Composed.init(self._decided(params), params)

    def steps(
        self, updates: Updates, state: OptState, params: Params = None, **extra_args: Any
    ) -> Steps:
        decided = self._decided(updates if params is None else params)
        return Composed.steps(decided, updates, state, params, **extra_args)

    def eval_params(self, state: OptState, params: Params) -> Params:
        return Composed.eval_params(self._decided(params), state, params)

    def plan(self, params: Params) -> PyTree:
        return Composed.plan(self._decided(params), params)

    def for_params(self, params: Params) -> Any:
        decided = super().for_params(params)
        return make(type(self), {**vars(decided), "matrices": self._rules.settled(params)})

    def _decided(self, params: Params) -> Any:
        """This optimizer, whose parts see each a part of the parameters as it sees them itself."""
        decided = self.for_params(params)
        leaves = tuple(x._replace(why="rule") for x in decided.matrices.leaves)  # without warnings
        return make(type(self), {**vars(decided), "matrices": Matrices(leaves=leaves)})

    @property
    def _rules(self) -> Matrices:
        return self.matrices if self.matrices is not None else Matrices()

    def table(self, params: Params) -> str:
        """A table with a line for every leaf: how it is seen, what decided it, and what it gets.

        Args:
            params: the parameters; shapes suffice.

        Raises:
            ValueError: as in ``init``.
        """
        own, other = type(self).__name__, self.of_others()
        self._rules.check(own, params)
        groups: dict[str, list[Seen]] = {own: [], type(other).__name__: []}
        lines = []
        seen = self._rules.seen(params)
        for x, takes in zip(seen, self.taken(params, seen), strict=True):
            gets = own if takes else type(other).__name__
            x = x if x.kind in self.takes else x._replace(view=None)
            lines.append((x.path, as_seen(x), x.kind, x.why, gets))
            groups[gets].append(x)
        head = ("leaf", "seen as", "kind", "by", "gets")
        optimizers = [cut(repr(tx)) for tx in (self, other)]
        return "\n".join([*laid_out(head, lines), *totals(groups), *optimizers])


@dataclasses.dataclass(frozen=True)
class _Labels:
    """The labels of the leaves: ``"matrices"`` or ``"other"``."""

    rules: Matrices
    takes: tuple[str, ...]

    def __call__(self, params: Params) -> PyTree:
        labels = ["matrices" if x.kind in self.takes else "other" for x in self.rules.seen(params)]
        return jax.tree.structure(params).unflatten(labels)
