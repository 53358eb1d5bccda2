"""Parameters as one NumPy vector, and back."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from fnopt.core import computing_dtype
from fnopt.core.select import path_name
from fnopt.core.types import Params


class Layout(NamedTuple):
    """Where each leaf lies in the vector.

    Attributes:
        structure: the structure of the tree.
        paths: paths of the leaves.
        shapes: their shapes.
        dtypes: their dtypes.
    """

    structure: Any
    paths: tuple[str, ...]
    shapes: tuple[tuple[int, ...], ...]
    dtypes: tuple[Any, ...]

    @property
    def ends(self) -> list[int]:
        """The ends of the leaves but the last one."""
        return np.cumsum([math.prod(shape) for shape in self.shapes])[:-1].tolist()

    def leaves(self, vector: Any) -> list[Any]:
        """The parts of a vector, in the shapes of the leaves.

        Args:
            vector: an array of NumPy or of jax, shape (parameters,).
        """
        parts = (np if isinstance(vector, np.ndarray) else jnp).split(vector, self.ends)
        return [part.reshape(shape) for part, shape in zip(parts, self.shapes, strict=True)]

    def tree(self, vector: Any) -> Params:
        """The parameters that a vector stands for, in their dtypes."""
        pairs = zip(self.leaves(jnp.asarray(vector)), self.dtypes, strict=True)
        return jax.tree.unflatten(self.structure, [leaf.astype(dtype) for leaf, dtype in pairs])


def layout_of(params: Params) -> Layout:
    """The layout of parameters.

    Args:
        params: a tree of arrays of real numbers.

    Raises:
        TypeError: a leaf is not of real floating-point numbers; names its path.
        ValueError: there is no leaf.
    """
    with_paths, structure = jax.tree_util.tree_flatten_with_path(params)
    if not with_paths:
        raise ValueError("the parameters have no arrays")
    for path, leaf in with_paths:
        if not jnp.issubdtype(leaf.dtype, jnp.floating):
            raise TypeError(
                f"the parameter {path_name(path)} is of {leaf.dtype}; directions are in"
                " the space of real numbers, so that all must be floating"
            )
    leaves = [leaf for _, leaf in with_paths]
    return Layout(
        structure,
        tuple(path_name(path) for path, _ in with_paths),
        tuple(leaf.shape for leaf in leaves),
        tuple(leaf.dtype for leaf in leaves),
    )


def vector_of(params: Params) -> np.ndarray:
    """A copy of parameters as a vector: float32, or float64 if a leaf is.

    Args:
        params: a tree of arrays of real numbers.
    """
    leaves = jax.tree.leaves(params)
    dtype = computing_dtype(*(leaf.dtype for leaf in leaves))
    return np.concatenate([np.asarray(leaf).astype(dtype).ravel() for leaf in leaves])
