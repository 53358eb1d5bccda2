"""Rules for matrices: a formula on all matrices of a tree, which are joined by shape."""

from __future__ import annotations

import contextlib
from typing import Any, ClassVar

import jax
import jax.numpy as jnp

from fnopt.core import Rule
from fnopt.core.checks import brief, same_shape
from fnopt.core.context import Context
from fnopt.core.moments import cast, computing_dtype
from fnopt.core.plan import UNTOUCHED, LeafPlan
from fnopt.core.slots import round_direction, round_slots, widen_slots
from fnopt.core.transform import at_count
from fnopt.core.types import Arrays, OptState, Params, PyTree, Rows
from fnopt.core.value import make
from fnopt.matrix.choice import Matrices, warn_of_guesses
from fnopt.matrix.spread import spread_like
from fnopt.matrix.view import MatrixView, Seen

_FORMULA = (
    "update_matrices(self, grads, slots, params, ctx), which returns a pair: the directions and"
    " dicts of the next slots"
)


class MatrixRule(Rule):
    """A method for matrices: it sees every leaf as a stack of them, and the others not at all.

    A subclass has a field ``matrices: Matrices = None``, which says how leaves are seen, and
    defines the slots of one leaf and the directions of all. Arrays have the shape (number of
    matrices, outputs, inputs); see :class:`~fnopt.matrix.view.MatrixView`. Matrices of one shape
    are joined where the formula calls :func:`~fnopt.matrix.by_shape.by_shape`::

        class scale_by_orthogonal_trace(MatrixRule):
            decay: Decay = 0.95
            matrices: Matrices = None

            like_params = ("trace",)

            def init_matrices(self, param):
                return {"trace": zeros(param)}

            def update_matrices(self, grads, slots, params, ctx):
                traces = [g + self.decay * s.trace for g, s in zip(grads, slots, strict=True)]
                return wide(orthogonal_factor, traces), [{"trace": trace} for trace in traces]

    Everything in ``update_matrices`` has the widest precision of the leaves, float32 at least; what
    it returns is rounded to the dtypes of gradients and slots. Leaves that are no matrices pass as
    they are: see :class:`fnopt.matrix.optimizer.MatrixOptimizer` for another optimizer for them.
    """

    matrices = None  # without annotation, so that it is not a field
    like_params: ClassVar[tuple[str, ...]] = ()
    """Slots that lie, and are sharded, as the parameter; others have the matrices first."""
    takes: ClassVar[tuple[str, ...]] = ("hidden",)
    """The kinds of leaves that it is for; see :class:`fnopt.matrix.view.Seen`."""
    either_way: ClassVar[bool] = False
    """Whether the results for transposed matrices are the transposed results.

    The formula then receives matrices as they are stored, outputs or inputs first, and nothing is
    transposed for it.
    """
    precision: ClassVar[str | None] = "highest"
    """Precision of products on GPUs and TPUs; None leaves it to jax, whose default is faster."""
    elementwise: ClassVar[bool] = False
    family = ""

    @classmethod
    def undefined(cls) -> str:
        own = cls.update_matrices is not MatrixRule.update_matrices or cls.update is not Rule.update
        return "" if own else _FORMULA

    @property
    def has_slots(self) -> bool:
        return type(self).init_matrices is not MatrixRule.init_matrices

    def init_matrices(self, param: jax.Array) -> dict[str, Any]:
        """The slots of one leaf before the first update.

        Args:
            param: the leaf as matrices, an array of shape (number, outputs, inputs).

        Returns:
            A dict of arrays by name: those of ``like_params`` of the shape of ``param``, others
            with the number of matrices as their first axis.
        """
        return {}

    def update_matrices(
        self, grads: Arrays, slots: Rows, params: Any, ctx: Context, **extra_args: Any
    ) -> tuple[Any, ...]:
        """The directions of all matrices, and dicts of their next slots.

        A rule that names ``shared`` values, as a random key, receives a dict of them as the keyword
        ``shared``, and returns a dict of the next ones as a third thing.

        Args:
            grads: the gradients, an array of shape (number, outputs, inputs) for each leaf.
            slots: a list of named tuples, the slots of each leaf.
            params: a list of the parameters as matrices; None if ``update`` was called without.
            ctx: the count and what :meth:`fnopt.Rule.precompute` returned; without path and dtype.
            **extra_args: the extra arguments of ``update``.
        """
        raise NotImplementedError

    def seen(self, tree: PyTree) -> list[Seen]:
        """How every leaf of a tree is seen."""
        return self._rules.seen(tree)

    def for_params(self, params: Params) -> Any:
        if "matrices" not in self._fields:  # names and shapes decide
            return self
        return make(type(self), {**vars(self), "matrices": self._rules.settled(params)})

    @property
    def _rules(self) -> Matrices:
        return self.matrices if self.matrices is not None else Matrices()

    def init(self, params: Params) -> OptState:
        name = type(self).__name__
        self._rules.check(name, params)
        warn_of_guesses(name, [x for x in self.seen(params) if x.kind in self.takes])
        return super().init(params)

    def plan(self, params: Params) -> PyTree:
        own = LeafPlan(leafwise=self.leafwise, keeps_zero=self.keeps_zero)
        leaves, treedef = jax.tree.flatten(params)
        views = self._chosen(params, len(leaves))
        # Leaves of one view are treated alike, but for whose turn it is where they take turns.
        turns = [None if self.leafwise else i for i in range(len(leaves))]
        return treedef.unflatten(
            [
                own.labelled((view.words, turn)) if view else UNTOUCHED
                for view, turn in zip(views, turns, strict=True)
            ]
        )

    def _chosen(self, tree: PyTree, size: int) -> list[Any]:
        """The view of each leaf; None for those that this rule is not for."""
        views = [x.view if x.kind in self.takes else None for x in self.seen(tree)]
        return [view.as_stored if view and self.either_way else view for view in views]

    def init_leaf(self, param: jax.Array) -> dict[str, Any]:
        # For the names of the slots alone.
        words = ("in",) * (jnp.ndim(param) - 1) + ("out",)
        return self._init_seen(param, MatrixView(words, jnp.shape(param)))

    def _init_leaves(self, leaves: Arrays, chosen: list[Any]) -> list[Any]:
        return [
            self._init_seen(leaf, view) if view else None
            for leaf, view in zip(leaves, chosen, strict=True)
        ]

    def _init_seen(self, param: jax.Array, view: MatrixView) -> dict[str, Any]:
        slots = self.init_matrices(view.matrices(param))
        own = {name: slot for name, slot in slots.items() if name not in self.like_params}
        placed = {**slots, **spread_like(param, own)}
        return {name: self._stored(name, slot, view) for name, slot in placed.items()}

    def _stored(self, name: str, slot: Any, view: MatrixView) -> Any:
        return jax.tree.map(view.leaf, slot) if name in self.like_params else slot

    def _seen_slots(self, row: Any, view: MatrixView) -> Any:
        own = [name for name in row._fields if name in self.like_params]
        return row._replace(**{n: jax.tree.map(view.matrices, getattr(row, n)) for n in own})

    def _check_slots(self, path: str, grad: jax.Array, row: Any, view: MatrixView) -> None:
        """Raises ValueError where the slots are of another shape; without parameters none else."""
        for name, slot in jax.eval_shape(lambda x: self._init_seen(x, view), grad).items():
            for a, b in zip(
                jax.tree.leaves(slot), jax.tree.leaves(getattr(row, name)), strict=True
            ):
                what = f"{type(self).__name__}: the gradient of {path} needs a slot that"
                same_shape(what, a.shape, jnp.shape(b), f"slot state.{name}")

    def _step(
        self, leaves: Any, shared: Any, count: Any, next_count: Any, extra_args: dict[str, Any]
    ) -> Any:
        paths, grads, rows, params, views = leaves
        own = [i for i, view in enumerate(views) if view]
        if not own:
            return shared
        present = [params[i] for i in own if params[i] is not None]
        if len(present) < len(own):
            for i in own:
                self._check_slots(paths[i], grads[i], rows[i], views[i])
        arrays = (*(grads[i] for i in own), *present)
        real = jnp.finfo(computing_dtype(*map(jnp.result_type, arrays))).dtype
        wide = {i: computing_dtype(grads[i].dtype, real) for i in own}
        given = {"shared": shared, **extra_args} if self.shared else extra_args
        precision = contextlib.nullcontext()
        if self.precision is not None:
            precision = jax.default_matmul_precision(self.precision)
        with jax.numpy_dtype_promotion("standard"), precision:
            rule = at_count(self, count, real)
            result = rule.update_matrices(
                [views[i].matrices(cast(grads[i], wide[i])) for i in own],
                [self._seen_slots(widen_slots(rows[i], wide[i], real), views[i]) for i in own],
                [views[i].matrices(cast(jnp.asarray(params[i]), wide[i])) for i in own]
                if len(present) == len(own)
                else None,
                rule._context(next_count, real),
                **given,
            )
        lengths = [len(own)] * 2 + ([len(shared)] if self.shared else [])
        if not isinstance(result, tuple) or [len(x) for x in result] != lengths:
            raise TypeError(
                f"{type(self).__name__}: update_matrices must return a pair of lists, the"
                f" directions and dicts of the next slots of {len(own)} leaves, and a dict of what"
                f" is shared next if anything is, got {brief(result)}"
            )
        directions, next_slots, *next_shared = result
        for i, direction, slots in zip(own, directions, next_slots, strict=True):
            stored = {name: self._stored(name, slot, views[i]) for name, slot in slots.items()}
            rows[i] = round_slots(self, paths[i], stored, rows[i])
            grads[i] = round_direction(self, paths[i], grads[i], views[i].leaf(direction))
        return next_shared[0] if next_shared else shared
