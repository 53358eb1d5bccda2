"""A separate factor for every leaf."""

from __future__ import annotations

import dataclasses
from typing import Annotated, Any

import jax
import jax.numpy as jnp
import optax

from fnopt.core import Transform, computing_dtype
from fnopt.core.checks import float_leaves, leaves_like, refuse_state, same_shape
from fnopt.core.fields import Field, as_number
from fnopt.core.moments import cast
from fnopt.core.types import OptState, Params, PyTree, Updates


def _as_numbers(tree: PyTree) -> PyTree:
    numbers, treedef = [], jax.tree.structure(tree)
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
        number = as_number(leaf)
        if number is None or jnp.ndim(number):
            raise TypeError(
                f"must be a tree of numbers, but {jax.tree_util.keystr(path) or 'it'} is"
                f" {leaf!r} ({type(leaf).__name__})"
            )
        numbers.append(number)
    return treedef.unflatten(numbers)


class scale_by_tree(Transform):
    r"""Multiplies each leaf by its own number: :math:`u_i = a_i\,g_i`.

    Args:
        factors: the :math:`a_i`, any sign: a tree of numbers like the parameters, or a prefix of
            one, in which a number stands for all leaves below it.

    Raises:
        TypeError: a leaf of ``factors`` is no number.
        ValueError: in ``init`` and ``update``, ``factors`` is no prefix of the tree.

    When:
        Rates by layer that are computed, as those of :func:`fnopt.initialize.mup`; between a
        preconditioner and decoupled weight decay if the decay is not to be multiplied. What is
        chosen by paths is for :class:`groups`, whose groups are separate optimizers.

    >>> import fnopt, jax.numpy as jnp
    >>> tx = fnopt.chain(fnopt.sgd(1.0), fnopt.scale_by_tree({"body": 0.1, "head": 1.0}))
    >>> grads = {"body": [jnp.ones(2), jnp.ones(1)], "head": jnp.ones(1)}
    >>> tx.update(grads, tx.init(grads))[0]["body"]
    [Array([-0.1, -0.1], dtype=float32), Array([-0.1], dtype=float32)]
    """

    factors: Annotated[Any, Field(convert=_as_numbers, shown="PyTree")]

    leafwise = elementwise = keeps_zero = True

    @property
    def packs(self) -> bool:
        return False  # most often every leaf has a factor of its own

    def plan(self, params: Params) -> PyTree:
        # Leaves below one factor are treated in the same way.
        plans, treedef = jax.tree.flatten(super().plan(params))
        labels = self._positions(params)
        return treedef.unflatten(
            dataclasses.replace(plan, label=i) for plan, i in zip(plans, labels, strict=True)
        )

    def init(self, params: Params) -> optax.EmptyState:
        float_leaves("params", params)
        self._spread(params)
        return optax.EmptyState()

    def update(
        self, updates: Updates, state: OptState, params: Params = None, **extra_args: Any
    ) -> tuple[Updates, OptState]:
        if jax.tree.leaves(state):
            refuse_state(self, state)
        paths, grads, treedef = float_leaves("updates", updates)
        if params is not None:
            like = leaves_like(treedef, "params", params, "updates")
            for path, grad, param in zip(paths, grads, like, strict=True):
                same_shape(path, grad.shape, jnp.shape(param), "parameter")
        scaled = [_times(*pair) for pair in zip(self._spread(updates), grads, strict=True)]
        return treedef.unflatten(scaled), state

    def _spread(self, tree: PyTree) -> list[Any]:
        """A number for every leaf of the tree."""
        factors = jax.tree.leaves(self.factors)
        return [factors[i] for i in self._positions(tree)]

    def _positions(self, tree: PyTree) -> list[int]:
        """For every leaf of the tree the position of its number among the factors."""
        # What has no leaves is the placeholder of optax.tree.map_params, or empty.
        if not jax.tree.leaves(tree):
            return []
        structure = jax.tree.structure(self.factors)
        positions: list[int] = []
        try:
            jax.tree.map(
                lambda i, sub: positions.extend([i] * len(jax.tree.leaves(sub))),
                structure.unflatten(range(structure.num_leaves)),
                tree,
            )
        except (ValueError, TypeError) as error:
            raise ValueError(
                f"scale_by_tree: factors is no tree of numbers for the parameters: {error}"
            ) from error
        return positions


def _times(number: Any, grad: jax.Array) -> jax.Array:
    # As a rule computes: in float32 at least, rounded once.
    wide = computing_dtype(grad.dtype)
    number = number if isinstance(number, float) else jnp.asarray(number).astype(wide)
    return cast(number * cast(grad, wide), grad.dtype)
