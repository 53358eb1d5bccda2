"""The leaves of a tree that are arrays of numbers, by their paths."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.tree_util import SequenceKey

from fnopt.core.select import path_name
from fnopt.core.types import PyTree


def array_leaves(tree: PyTree) -> dict[str, Any]:
    """The leaves that are numbers by their paths.

    A tuple of trees, as parameters and model state, is one tree. Random keys are no numbers, nor
    are the functions that an Equinox module has among its leaves.

    Raises:
        ValueError: two leaves have one path.
    """
    leaves: dict[str, Any] = {}
    for name, leaf in _named(tree)[0]:
        if not _is_number(leaf):
            continue
        if name in leaves:
            raise ValueError(f"two leaves have the path {name!r}; give the trees one by one")
        leaves[name] = leaf
    return leaves


def with_array_leaves(tree: PyTree, changed: Mapping[str, Any]) -> PyTree:
    """A tree with some of its :func:`array_leaves` replaced, by path."""
    leaves, treedef = _named(tree)
    return treedef.unflatten(
        changed.get(name, leaf) if _is_number(leaf) else leaf for name, leaf in leaves
    )


def random_keys(tree: PyTree) -> list[str]:
    """The paths of random keys, which stay as they are, even if a file has values for them."""
    return [
        name
        for name, leaf in _named(tree)[0]
        if jnp.issubdtype(getattr(leaf, "dtype", np.dtype(bool)), jax.dtypes.prng_key)
    ]


def _named(tree: PyTree) -> tuple[list[tuple[str, Any]], Any]:
    with_paths, treedef = jax.tree_util.tree_flatten_with_path(tree)
    several = type(tree) is tuple
    named = [
        (path_name(path[1:] if several and isinstance(path[0], SequenceKey) else path), leaf)
        for path, leaf in with_paths
    ]
    return named, treedef


def _is_number(leaf: Any) -> bool:
    if isinstance(leaf, (int, float, complex)):
        return not isinstance(leaf, bool)
    dtype = getattr(leaf, "dtype", None)
    return dtype is not None and not jnp.issubdtype(dtype, jax.dtypes.prng_key)
