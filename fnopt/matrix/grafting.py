"""Grafting: the direction of one transform with the length of another's."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from fnopt.core import Inner, Wrapper, computing_dtype, norm
from fnopt.core.checks import leaves_like
from fnopt.core.moments import cast
from fnopt.core.norms import over_norm
from fnopt.core.plan import LeafPlan
from fnopt.core.ranges import AtLeastOne
from fnopt.core.schedule import is_schedule
from fnopt.core.transform import any_evaluates
from fnopt.core.types import OptState, Params, PyTree, Updates
from fnopt.matrix.choice import Matrices, MatricesField


class GraftedState(NamedTuple):
    """The state of :class:`grafted`."""

    count: jax.Array
    direction_state: Any
    length_state: Any


class grafted(Wrapper):
    r"""The direction of one transform with the length of another's, matrix by matrix.

    .. math:: u = \frac{\lVert l \rVert}{\lVert d \rVert}\,d

    with :math:`d` and :math:`l` what the two make of one gradient. The norms are those of each
    matrix of a leaf (all axes but its stack's), and of the whole of a leaf that is none. So a
    method whose step sizes are hard to set takes those of one that is tuned.

    The authors' program for Shampoo adds 1e-16 to :math:`\lVert d \rVert`; here a direction of 0
    stays 0.

    Args:
        direction: the transform that gives the direction.
        length: the transform that gives the length.
        matrices: which leaves are matrices, and how: see :class:`scale_by_shampoo`.
        start: the update from which on the direction is used, the first being 1; those before it
            are :math:`l` itself. At least 1, rounded.

    When:
        A preconditioner of matrices is to replace a method that is tuned, at its learning rate.

    References:
        Agarwal, Anil, Hazan, Koren & Zhang, *Disentangling adaptive gradient methods from learning
        rates*, 2020, arXiv:2002.11803, Algorithm 1.

    >>> import fnopt
    >>> tx = fnopt.grafted(fnopt.sign_sgd(1.0), fnopt.adam(1e-3))
    """

    direction: Inner
    length: Inner
    matrices: MatricesField = None
    start: AtLeastOne = 1

    elementwise = False  # a norm is that of a matrix

    State = GraftedState
    inner_state = "direction_state"

    def plan(self, params: Params) -> PyTree:
        def both(direction: LeafPlan, length: LeafPlan, axes: Any) -> LeafPlan:
            return LeafPlan(
                frozen=direction.frozen and length.frozen,
                leafwise=direction.leafwise and length.leafwise,
                keeps_zero=direction.keeps_zero and length.keeps_zero,
                label=(direction.label, length.label, axes),
            )

        plans = [jax.tree.leaves(tx.plan(params)) for tx in (self.direction, self.length)]
        treedef = jax.tree.structure(params)
        return treedef.unflatten(map(both, *plans, self._axes(params)))

    @property
    def evaluates(self) -> bool | None:
        return any_evaluates((self.direction, self.length))

    def init(self, params: Params) -> OptState:
        return self.State(
            jnp.zeros((), jnp.int32), self.direction.init(params), self.length.init(params)
        )

    def update(
        self, updates: Updates, state: OptState, params: Params = None, **extra_args: Any
    ) -> tuple[Updates, OptState]:
        self.check(state)
        both = self.direction.update(updates, state.direction_state, params, **extra_args)
        lengths, length_state = self.length.update(
            updates, state.length_state, params, **extra_args
        )
        treedef, count = jax.tree.structure(updates), optax.safe_increment(state.count)
        directions = leaves_like(treedef, "the directions", both[0], "updates")
        lengths = leaves_like(treedef, "the lengths", lengths, "updates")
        started = count >= self._start(state.count)
        with jax.numpy_dtype_promotion("standard"):
            new = [
                jnp.where(started, _grafted(d, x, axes), cast(x, d.dtype))
                for d, x, axes in zip(directions, lengths, self._axes(updates), strict=True)
            ]
        return treedef.unflatten(new), self.State(count, both[1], length_state)

    def count(self, state: OptState) -> jax.Array:
        return state.count

    def _start(self, count: jax.Array) -> Any:
        start = self.start(count) if is_schedule(self.start) else self.start
        return jnp.round(jnp.asarray(start)).astype(jnp.int32)

    def _axes(self, tree: PyTree) -> list[tuple[int, ...] | None]:
        """For each leaf the axes of one matrix; None for all of a leaf that is no matrix."""
        seen = (self.matrices if self.matrices is not None else Matrices()).seen(tree)
        return [
            None if x.view is None else tuple(sorted((*x.view.axes("in"), *x.view.axes("out"))))
            for x in seen
        ]


def _grafted(direction: jax.Array, length: jax.Array, axes: Any) -> jax.Array:
    sizes = [norm(x, axes, keepdims=axes is not None) for x in (length, direction)]
    wide = cast(direction, computing_dtype(direction.dtype))
    return cast(sizes[0] * over_norm(wide, sizes[1]), direction.dtype)
