"""Optimizers for matrices, with another for all other leaves."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import jax

from fnopt.core import Composed, Transform, add_decayed_weights, chain, scale_by_learning_rate
from fnopt.core.types import OptState, Params, PyTree
from fnopt.first_order.adamw import adamw
from fnopt.matrix.choice import Matrices, check_rules
from fnopt.wrap.partition import partition


class MatrixOptimizer(Composed):
    """A method for matrices, and another optimizer for vectors, embeddings and heads.

    A subclass has the fields ``learning_rate``, ``weight_decay``, ``mask``, ``matrices`` and
    ``other``, and returns the transforms that give its direction; weight decay and learning rate
    follow them here. Without ``other``, what is no hidden matrix gets AdamW at the same rate.
    """

    takes = ("hidden",)
    """The kinds of leaves that the method is for; see :class:`fnopt.matrix.choice.Seen`."""

    if TYPE_CHECKING:  # annotations would make them fields
        learning_rate: Any
        weight_decay: Any = None
        mask: Any = None
        matrices: Any = None
        other: Any = None

    def direction(self) -> tuple[Transform, ...]:
        """The transforms that give the direction of matrices, up to its sign."""
        raise NotImplementedError

    @classmethod
    def undefined(cls) -> str:
        own = cls.direction is not MatrixOptimizer.direction
        return "" if own else "direction(self), which returns a tuple of transforms"

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
        check_rules(type(self).__name__, self._rules, params)
        return super().init(params)

    @property
    def _rules(self) -> Matrices:
        return self.matrices if self.matrices is not None else Matrices()

    def table(self, params: Params) -> str:
        """A table with a line for every leaf: how it is seen, why, and what it gets.

        Args:
            params: the parameters; shapes suffice.
        """
        gets = {True: type(self).__name__, False: repr(self.of_others())}
        rows = [("leaf", "seen as", "by", "gets")]
        for x in self._rules.seen(params):
            own = x.kind in self.takes
            shape = " × ".join(map(str, x.shape)) or "scalar"
            rows.append((x.path, str(x.view) if own else f"{shape}, {x.kind}", x.why, gets[own]))
        widths = [max(len(row[i]) for row in rows) for i in range(3)]
        return "\n".join(
            "  ".join([*(cell.ljust(w) for cell, w in zip(row, widths, strict=False)), row[3]])
            for row in rows
        )


@dataclasses.dataclass(frozen=True)
class _Labels:
    """The labels of the leaves: ``"matrices"`` or ``"other"``."""

    rules: Matrices
    takes: tuple[str, ...]

    def __call__(self, params: Params) -> PyTree:
        labels = ["matrices" if x.kind in self.takes else "other" for x in self.rules.seen(params)]
        return jax.tree.structure(params).unflatten(labels)
