"""Packed trees: small leaves side by side in few buffers, large leaves by themselves."""

from __future__ import annotations

import collections
import dataclasses
import functools
import itertools
import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from fnopt.core.buffers import join, run, split
from fnopt.core.checks import leaves_like
from fnopt.core.packable import LIMIT, check_limit, is_small, labels_of, sharding_of
from fnopt.core.paths import path_name
from fnopt.core.types import Params, PyTree

Merge = Callable[[Sequence[str], Sequence[Any]], Any]
"""A function of the paths of leaves and a value of each that returns one value for all."""


class Place(NamedTuple):
    """Where a leaf lies in a packed tree.

    Attributes:
        entry: the position in :attr:`Packed.entries`.
        offset: the first element of the leaf there; None if the leaf lies by itself.
        shape: the shape of the leaf.
    """

    entry: int
    offset: int | None
    shape: tuple[int, ...]


@dataclasses.dataclass(frozen=True)
class Packing:
    """How a tree of arrays lies in few buffers: a layout, which is hashable.

    Leaves of one dtype, up to a size, that an optimizer treats alike lie side by side in one
    buffer; all others lie by themselves. A number for each array becomes a number for each buffer:
    of buffers to hand over, of kernels to launch, of fusions to compile.

    ``unpack`` is differentiated by ``pack``: the gradient of a loss of the unpacked tree arrives
    packed. All of it works under ``jit``, ``grad``, ``vmap``, ``scan`` and ``eval_shape``; arrays
    may have more axes before those of the layout.

    Attributes:
        treedef: the structure of the tree.
        paths: the paths of its leaves, as ``layers/0/kernel``.
        shapes: the shapes of its leaves.
        buffers: for each buffer the positions of the leaves in it, in the order of the tree.

    >>> import fnopt, jax, jax.numpy as jnp
    >>> params = {"kernel": jnp.ones((2, 3)), "bias": jnp.zeros(3)}
    >>> packing = fnopt.Packing.of(fnopt.adam(1e-3), params)
    >>> packing.pack(params).entries
    (Array([0., 0., 0., 1., 1., 1., 1., 1., 1.], dtype=float32),)
    >>> packing.place("kernel")
    Place(entry=0, offset=3, shape=(2, 3))
    >>> jax.grad(lambda p: jnp.sum(packing.unpack(p)["bias"]))(packing.pack(params)).entries
    (Array([1., 1., 1., 0., 0., 0., 0., 0., 0.], dtype=float32),)
    """

    treedef: Any
    paths: tuple[str, ...]
    shapes: tuple[tuple[int, ...], ...]
    buffers: tuple[tuple[int, ...], ...]

    @classmethod
    def of(cls, tx: Any, params: Params, limit: int | None = LIMIT) -> Packing:
        """The layout of parameters for an optimizer.

        Args:
            tx: the optimizer, which says of each leaf whether its formula is elementwise, and which
                leaves it treats alike; None for a tree whose leaves are all alike.
            params: the parameters; shapes suffice. Leaves that several devices share lie by
                themselves, unless each device has all of them.
            limit: the greatest size of a leaf that is packed, in bytes, at least 0; None for any.

        Returns:
            The layout; two of the same are equal.

        Raises:
            TypeError: ``limit`` is no integer.
            ValueError: ``limit`` is negative.
        """
        check_limit("Packing.of", limit)
        with_paths, treedef = jax.tree_util.tree_flatten_with_path(params)
        labels = [0] * len(with_paths) if tx is None else labels_of(tx, params)
        alike: dict[Any, list[int]] = collections.defaultdict(list)
        for i, ((_, leaf), label) in enumerate(zip(with_paths, labels, strict=True)):
            if label is not None and is_small(leaf, limit):
                alike[label, jnp.dtype(leaf.dtype), sharding_of(leaf)].append(i)
        return cls(
            treedef,
            tuple(path_name(path) for path, _ in with_paths),
            tuple(tuple(jnp.shape(leaf)) for _, leaf in with_paths),
            # One leaf is a buffer as it is.
            tuple(tuple(leaves) for leaves in alike.values() if len(leaves) > 1),
        )

    def pack(self, tree: PyTree, what: str = "the tree") -> Packed:
        """A tree of this layout, packed.

        Args:
            tree: a tree of the layout's structure and shapes, of any dtypes; a packed one is
                returned as it is.
            what: the name of the tree, for errors.

        Raises:
            ValueError: the tree has another structure or other shapes, or is packed in another
                layout.
        """
        if isinstance(tree, Packed):
            return self._own(tree)
        leaves = self._leaves(tree, what)
        buffers = run(join, self, [[leaves[i] for i in buffer] for buffer in self.buffers])
        return Packed(self, (*buffers, *(leaves[i] for i in self.alone)))

    def unpack(self, tree: Any) -> PyTree:
        """The tree of a packed one; a tree that is not packed is returned as it is.

        Raises:
            ValueError: the tree is packed in another layout.
        """
        if not isinstance(tree, Packed):
            return tree
        entries, leaves = self._own(tree).entries, dict[int, Any]()
        parts_of_all = run(split, self, entries[: len(self.buffers)])
        for buffer, parts in zip(self.buffers, parts_of_all, strict=True):
            leaves.update(zip(buffer, parts, strict=True))
        leaves.update(zip(self.alone, entries[len(self.buffers) :], strict=True))
        return self.treedef.unflatten(leaves[i] for i in range(len(self.shapes)))

    def place(self, path: str) -> Place:
        """Where the leaf at a path lies.

        Raises:
            KeyError: there is no leaf of this path.
        """
        if path not in self.paths:
            raise KeyError(f"no leaf has the path {path!r}; there are {', '.join(self.paths[:5])}")
        return self.places[self.paths.index(path)]

    @functools.cached_property
    def places(self) -> tuple[Place, ...]:
        """Where each leaf lies, in the order of the tree."""
        found: dict[int, Place] = {}
        for entry, leaves in enumerate(self.buffers):
            offset = 0
            for i in leaves:
                found[i] = Place(entry, offset, self.shapes[i])
                offset += math.prod(self.shapes[i])
        for entry, i in enumerate(self.alone, len(self.buffers)):
            found[i] = Place(entry, None, self.shapes[i])
        return tuple(found[i] for i in range(len(self.shapes)))

    @functools.cached_property
    def alone(self) -> tuple[int, ...]:
        """The positions of the leaves that lie by themselves."""
        packed = set(itertools.chain(*self.buffers))
        return tuple(i for i in range(len(self.shapes)) if i not in packed)

    @functools.cached_property
    def keys(self) -> tuple[EntryKey, ...]:
        """A name for each entry: that of its leaf, or of the first and the number of others."""
        with_more = (f"{self.paths[e[0]]} (and {len(e) - 1} packed with it)" for e in self.buffers)
        return tuple(EntryKey(name) for name in (*with_more, *(self.paths[i] for i in self.alone)))

    def by_entry(self, values: Sequence[Any], merge: Merge) -> list[Any]:
        """A value for every entry from one for every leaf.

        Args:
            values: the values of the leaves, in the order of the tree.
            merge: a function of the paths and the values of the leaves in a buffer that returns
                the value of the buffer.
        """
        merged = (merge(*_pick(buffer, self.paths, values)) for buffer in self.buffers)
        return [*merged, *(values[i] for i in self.alone)]

    def _leaves(self, tree: PyTree, what: str) -> list[Any]:
        """The leaves of a tree, in the order of the layout, which may be containers of arrays."""
        with_paths = jax.tree_util.tree_leaves_with_path(tree)
        # The same leaves may lie in other containers: nnx's parameters are arrays in an update.
        if tuple(path_name(path) for path, _ in with_paths) == self.paths:
            leaves = [leaf for _, leaf in with_paths]
        else:
            leaves = leaves_like(self.treedef, what, tree, "the packed parameters", _CURE)
        for i, (leaf, shape) in enumerate(zip(leaves, self.shapes, strict=True)):
            for x in jax.tree.leaves(leaf):
                if jnp.shape(x)[jnp.ndim(x) - len(shape) :] != shape:
                    places = self.treedef.unflatten(range(len(self.shapes)))
                    path, _ = jax.tree_util.tree_leaves_with_path(places)[i]
                    raise ValueError(
                        f"{what}{jax.tree_util.keystr(path)} has shape {jnp.shape(x)}, but the"
                        f" packed parameter has shape {shape}; {_CURE}"
                    )
        return leaves

    def _own(self, packed: Packed) -> Packed:
        if packed.packing != self:
            raise ValueError(
                "the tree is packed in another layout; unpack it by its own,"
                " packed.packing.unpack(packed)"
            )
        return packed

    # Compared at every call of a jitted function; most often with itself.
    def __eq__(self, other: object) -> bool:
        if self is other:
            return True
        return isinstance(other, Packing) and self._key == other._key

    def __hash__(self) -> int:
        return self._hash

    @functools.cached_property
    def _key(self) -> Any:
        return self.treedef, self.shapes, self.buffers

    @functools.cached_property
    def _hash(self) -> int:
        return hash(self._key)

    def __repr__(self) -> str:
        packed = sum(map(len, self.buffers))
        return (
            f"Packing({len(self.shapes)} leaves: {packed} in {len(self.buffers)} buffers,"
            f" {len(self.alone)} by themselves)"
        )


class EntryKey(NamedTuple):
    """The key of an entry of a packed tree in a path."""

    name: str

    def __str__(self) -> str:
        return f"[{self.name!r}]"


@jax.tree_util.register_pytree_with_keys_class
class Packed:
    """A tree in a :class:`Packing`: its leaves are the buffers, then the leaves by themselves.

    It is a tree like any other to what treats elements alone: optimizers, averages, sums. What
    needs the leaves as they were gets them by :meth:`unpack`.

    Attributes:
        packing: the layout.
        entries: the buffers, one axis each, then the leaves that lie by themselves.
    """

    def __init__(self, packing: Packing, entries: Iterable[Any]) -> None:
        self.packing, self.entries = packing, tuple(entries)

    def unpack(self) -> PyTree:
        """The tree."""
        return self.packing.unpack(self)

    def tree_flatten_with_keys(self) -> Any:
        return tuple(zip(self.packing.keys, self.entries, strict=True)), self.packing

    def tree_flatten(self) -> Any:
        return self.entries, self.packing

    @classmethod
    def tree_unflatten(cls, packing: Packing, entries: Any) -> Packed:
        return cls(packing, entries)

    def __repr__(self) -> str:
        return f"Packed({self.packing!r})"


_CURE = "for other parameters make another layout, Packing.of(tx, params)"


def _pick(positions: Iterable[int], *rows: Sequence[Any]) -> list[list[Any]]:
    return [[row[i] for i in positions] for row in rows]
