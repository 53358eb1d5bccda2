"""Subspaces of low rank: which leaves are matrices, and how they are projected."""

from __future__ import annotations

import dataclasses
from typing import Annotated, Any, NamedTuple

import jax
import jax.numpy as jnp
import optax.contrib

from fnopt.core import computing_dtype
from fnopt.core.checks import leaves_like
from fnopt.core.fields import Field
from fnopt.core.moments import cast
from fnopt.core.select import Labels, as_labels
from fnopt.core.types import PyTree
from fnopt.matrix.view import MatrixView

GaLoreDimensionNumbers = optax.contrib.GaLoreDimensionNumbers


def _hashable(axes: Any) -> Any:
    """Dimension numbers with tuples of axes for lists."""
    return axes and GaLoreDimensionNumbers(
        *(axis if isinstance(axis, int) else tuple(axis) for axis in axes)
    )


def _axes(axes: Any) -> Labels:
    labels = as_labels(axes, lambda x: x is None or isinstance(x, GaLoreDimensionNumbers))
    if callable(labels.choice):
        return labels
    return dataclasses.replace(labels, choice=tuple(map(_hashable, labels.choice)))


Axes = Annotated[Any, Field(convert=_axes, static=True, shown="PyTree | Callable")]
"""Which axes of a leaf are rows and which columns, for one, for all or by a function."""


class Plan(NamedTuple):
    """How a leaf is a matrix, and which of its sides is projected.

    Attributes:
        view: its axes; the rows of the matrix are the outputs.
        left: whether the rows are projected, else the columns.
        rank: the rank of the subspace.
    """

    view: MatrixView
    left: bool
    rank: int

    @property
    def slots(self) -> tuple[tuple[int, int], tuple[int, int]]:
        """The shapes of the gradient in the subspace and of the projector."""
        _, m, n = self.view.matrix_shape
        if self.left:
            return (self.rank, n), (m, self.rank)
        return (m, self.rank), (n, self.rank)

    def project(self, grad: jax.Array, old: jax.Array, renew: Any) -> tuple[jax.Array, jax.Array]:
        """The gradient in the subspace, and the projector, computed again or as it was."""
        (matrix,) = self.view.matrices(cast(grad, computing_dtype(grad.dtype)))
        side = matrix if self.left else matrix.T

        def compute() -> jax.Array:
            return cast(jnp.linalg.svd(side, full_matrices=False)[0][:, : self.rank], old.dtype)

        new = jax.lax.cond(renew, compute, lambda: old)
        low = cast(new, side.dtype).conj().T @ side
        return (low if self.left else low.T), new

    def back(self, low: jax.Array, projector: jax.Array, scale: jax.Array) -> jax.Array:
        """The direction of the leaf that is ``low`` in the subspace."""
        wide = computing_dtype(low.dtype)
        low, projector = cast(low, wide), cast(projector, wide)
        whole = projector @ low if self.left else (projector @ low.T).T
        return cast(scale, wide) * self.view.leaf(whole[None])


def plans_of(
    axes: Labels | None, rank: int, long_side: bool, tree: PyTree, paths: list[str]
) -> list[Plan | None]:
    """How each leaf of a tree is projected; None for one that is not.

    Raises:
        ValueError: the axes named are not those of a leaf.
    """
    leaves, treedef = jax.tree.flatten(tree)
    axes_of_leaves = axes.tree(tree) if axes is not None and leaves else None
    if axes_of_leaves is None:
        axes_of_leaves = [GaLoreDimensionNumbers() if jnp.ndim(x) == 2 else None for x in leaves]
    elif isinstance(axes_of_leaves, GaLoreDimensionNumbers):
        axes_of_leaves = [axes_of_leaves if jnp.ndim(x) >= 2 else None for x in leaves]
    else:
        axes_of_leaves = leaves_like(
            treedef, "weight_dimension_numbers", axes_of_leaves, "the parameters"
        )
    return [
        None
        if numbers is None or not jnp.size(leaf)
        else _plan(path, leaf.shape, numbers, rank, long_side)
        for path, leaf, numbers in zip(paths, leaves, axes_of_leaves, strict=True)
    ]


def _plan(path: str, shape: tuple[int, ...], axes: Any, rank: int, long_side: bool) -> Plan:
    rows, columns = ((axis,) if isinstance(axis, int) else axis for axis in axes)
    order = [axis % max(len(shape), 1) for axis in (*rows, *columns)]
    if sorted(order) != list(range(len(shape))):
        raise ValueError(f"{axes} must name every axis of {path} once, which has shape {shape}")
    words = ["out" if axis in order[: len(rows)] else "in" for axis in range(len(shape))]
    view = MatrixView(tuple(words), shape)
    _, m, n = view.matrix_shape
    return Plan(view, (m >= n) if long_side else (m <= n), min(rank, m, n))
