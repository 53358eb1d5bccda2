"""Optimizers of one structure, stacked: a batch of them is one program."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from fnopt.core.checks import brief
from fnopt.core.types import PyTree


def structure_of(tx: PyTree) -> Hashable:
    """What two optimizers must have the same of, to be stacked: tree, shapes and dtypes.

    Python's numbers are alike, integers and floats.

    Args:
        tx: an optimizer, or another tree of numbers and arrays.
    """
    leaves, treedef = jax.tree.flatten(tx)
    return treedef, tuple(map(_kind, leaves))


def stacked(trees: Sequence[PyTree]) -> Any:
    """Trees of one structure as one, whose leaves have a new first axis.

    Args:
        trees: optimizers, or other trees of numbers and arrays, at least one.

    Raises:
        ValueError: there is none, or they are of several structures; names two of them.

    >>> import fnopt
    >>> stacked([fnopt.sgd(0.1), fnopt.sgd(1)]).learning_rate
    Array([0.1, 1. ], dtype=float32)
    """
    groups = groups_of(trees)
    if len(groups) != 1:
        if not groups:
            raise ValueError("stacked: there is nothing to stack; give at least one optimizer")
        one, other = (trees[places[0]] for places in groups[:2])
        raise ValueError(
            f"stacked: there are {len(groups)} structures, and one is needed: {brief(one)} and"
            f" {brief(other)} differ in kind, flags, what is None, or shapes; stack each by itself"
        )
    return jax.tree.map(lambda *leaves: _stack(leaves), *trees)


def groups_of(trees: Iterable[PyTree]) -> list[list[int]]:
    """The positions of trees of one structure together, in the order of their first.

    Args:
        trees: optimizers, or other trees of numbers and arrays.
    """
    groups: dict[Hashable, list[int]] = {}
    for place, tree in enumerate(trees):
        groups.setdefault(structure_of(tree), []).append(place)
    return list(groups.values())


def _kind(leaf: Any) -> Hashable:
    if isinstance(leaf, (int, float)) and not isinstance(leaf, bool):
        return (), jnp.result_type(float)
    return jnp.shape(leaf), jnp.result_type(leaf)


def _stack(leaves: Sequence[Any]) -> jax.Array:
    # The dtype without the weak type of a Python number.
    dtype = jnp.result_type(*leaves)
    if any(isinstance(leaf, jax.Array) for leaf in leaves):
        return jnp.stack([x if hasattr(x, "dtype") else jnp.asarray(x, dtype) for x in leaves])
    return jnp.asarray(np.stack([np.asarray(leaf, dtype) for leaf in leaves]))  # in one transfer
