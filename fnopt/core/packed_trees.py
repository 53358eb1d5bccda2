"""Packed trees within others: a state that holds some, values said of each leaf."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax

from fnopt.core.packing import Merge, Packed, Packing
from fnopt.core.types import Params, PyTree


def is_packed(x: Any) -> bool:
    """Whether something is a packed tree."""
    return isinstance(x, Packed)


def unpacked(tree: PyTree) -> PyTree:
    """A tree with the packed ones within it unpacked, such as a whole state of an optimizer."""
    return jax.tree.map(lambda x: x.unpack() if is_packed(x) else x, tree, is_leaf=is_packed)


def packed_like(tree: PyTree, like: PyTree) -> PyTree:
    """A tree, packed where another is.

    Args:
        tree: the tree, with the leaves of the other unpacked; empty nodes may be other ones.
        like: a tree with packed ones within it; its arrays are not read.
    """

    def pack(old: Any, new: Any) -> Any:
        return old.packing.pack(new) if is_packed(old) else new

    structure = jax.tree.structure(jax.eval_shape(unpacked, like))
    tree = structure.unflatten(jax.tree.leaves(tree))
    return jax.tree.map(pack, like, tree, is_leaf=is_packed)


def packing_in(tree: PyTree) -> Packing | None:
    """The layout of the first packed tree within a tree; None without one."""
    for leaf in jax.tree.leaves(tree, is_leaf=is_packed):
        if is_packed(leaf):
            return leaf.packing
    return None


def by_leaf(function: Callable[[Params], PyTree], params: Params, merge: Merge) -> PyTree:
    """What a function says of each leaf, of the parameters as the user knows them.

    Args:
        function: a function of parameters, or of their shapes, that returns a tree like them with
            a value for each leaf.
        params: the parameters, which may be packed.
        merge: as that of :meth:`Packing.by_entry`.

    Returns:
        A tree like ``params``: for a packed one, a packed one with a value for each entry.
    """
    if not is_packed(params):
        return function(params)
    shapes = jax.eval_shape(params.packing.unpack, params)
    # Groups leave empty nodes instead of leaves.
    values = params.packing.treedef.flatten_up_to(function(shapes))
    return Packed(params.packing, params.packing.by_entry(values, merge))


def the_same(paths: Sequence[str], values: Sequence[Any]) -> Any:
    """The value that all leaves of a buffer have.

    Raises:
        ValueError: they have different values.
    """
    for path, value in zip(paths, values, strict=True):
        if value != values[0]:
            raise ValueError(
                f"{paths[0]} and {path} lie in one buffer, but this optimizer treats them"
                f" differently ({values[0]!r:.40} and {value!r:.40}); pack them for it, by"
                " Packing.of(tx, params)"
            )
    return values[0]
