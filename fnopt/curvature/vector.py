"""A tree of parameters as one vector."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import jax
import jax.numpy as jnp

from fnopt.core import computing_dtype
from fnopt.core.checks import float_leaves, leaves_like, same_shape
from fnopt.core.moments import cast
from fnopt.core.types import Params, PyTree, Updates


@dataclasses.dataclass(frozen=True)
class Vector:
    """How the leaves of a tree lie in a vector: one after the other, in one dtype.

    Attributes:
        treedef: the structure of the tree.
        shapes: the shapes of the leaves.
        dtypes: the dtypes of the leaves.
        dtype: that of the vector, the leaves' common one, single precision at least.
    """

    treedef: Any
    shapes: tuple[tuple[int, ...], ...]
    dtypes: tuple[Any, ...]
    dtype: Any

    @classmethod
    def of(cls, params: Params) -> Vector:
        """The vector of the parameters, whose leaves must be floating."""
        _, leaves, treedef = float_leaves("params", params)
        dtypes = tuple(leaf.dtype for leaf in leaves)
        return cls(treedef, tuple(leaf.shape for leaf in leaves), dtypes, computing_dtype(*dtypes))

    @property
    def size(self) -> int:
        """Number of elements."""
        return sum(map(math.prod, self.shapes))

    def join(self, leaves: list[Any]) -> jax.Array:
        """Leaves, or what broadcasts to them, as a vector."""
        parts = [
            jnp.broadcast_to(cast(jnp.asarray(leaf), self.dtype), shape).reshape(-1)
            for leaf, shape in zip(leaves, self.shapes, strict=True)
        ]
        return jnp.concatenate(parts) if parts else jnp.zeros(0, self.dtype)

    def of_tree(self, tree: PyTree) -> jax.Array:
        """A tree like the parameters as a vector."""
        return self.join(self.treedef.flatten_up_to(tree))

    def split(self, vector: jax.Array) -> list[jax.Array]:
        """A vector as leaves, in its own dtype."""
        leaves, begin = [], 0
        for shape in self.shapes:
            end = begin + math.prod(shape)
            leaves.append(vector[begin:end].reshape(shape))
            begin = end
        return leaves

    def tree(self, vector: jax.Array, wide: bool = False) -> PyTree:
        """A vector as a tree like the parameters.

        Args:
            vector: the vector.
            wide: whether leaves are in single precision at least, instead of their own dtypes.
        """
        dtypes = [computing_dtype(d) if wide else d for d in self.dtypes]
        pairs = zip(self.split(vector), dtypes, strict=True)
        return self.treedef.unflatten([cast(leaf, dtype) for leaf, dtype in pairs])


def checked(transform: Any, updates: Updates, params: Params) -> tuple[Updates, Params]:
    """Updates and parameters as trees of arrays.

    Args:
        transform: the transform that received them, for errors.
        updates: the updates.
        params: the parameters.

    Raises:
        ValueError: there are no parameters, or structures or shapes differ; names the path.
        TypeError: an update is not floating.
    """
    if params is None:
        name = type(transform).__name__
        raise ValueError(f"{name} needs the parameters: call update(updates, state, params)")
    paths, leaves, treedef = float_leaves("updates", updates)
    starts = [jnp.asarray(p) for p in leaves_like(treedef, "params", params, "updates")]
    for path, leaf, start in zip(paths, leaves, starts, strict=True):
        same_shape(path, leaf.shape, start.shape, "parameter")
    return treedef.unflatten(leaves), treedef.unflatten(starts)
