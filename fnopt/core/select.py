"""Choosing leaves: masks, labels and path patterns, resolved on the tree that the user sees."""

from __future__ import annotations

import dataclasses
import difflib
import fnmatch
from collections.abc import Callable, Hashable, Iterable
from typing import Annotated, Any, ClassVar

import jax
import jax.numpy as jnp
import optax

from fnopt.core.checks import brief
from fnopt.core.fields import Field
from fnopt.core.packed_trees import by_leaf, is_packed, the_same
from fnopt.core.paths import KeyPath as KeyPath
from fnopt.core.paths import path_name as path_name
from fnopt.core.types import Params, PyTree

Pattern = str | tuple[str, ...] | Callable[[str, Any], bool]
"""A glob of a path, several, or a function of path and leaf."""


def matches(pattern: Pattern, path: str, leaf: Any) -> bool:
    """Whether a pattern chooses a leaf; ``*`` stands for any text, slashes too.

    Args:
        pattern: a glob of the path, several, or a function of path and leaf.
        path: the leaf's path, as :func:`path_name` gives it.
        leaf: the leaf; only functions see it.
    """
    if callable(pattern):
        return bool(pattern(path, leaf))
    globs = (pattern,) if isinstance(pattern, str) else pattern
    # With a slash before it, "*/bias" matches a bias at the top as well.
    return any(fnmatch.fnmatchcase(p, glob) for glob in globs for p in (path, "/" + path))


def show(pattern: Pattern) -> str:
    """A pattern on one line."""
    if callable(pattern):
        return getattr(pattern, "__qualname__", repr(pattern)).split(".<locals>.")[-1]
    return pattern if isinstance(pattern, str) else ", ".join(pattern)


def nearest(pattern: Pattern, paths: Iterable[str], most: int = 3) -> list[str]:
    """The paths whose ends or beginnings are most like a pattern without its stars.

    Args:
        pattern: a glob, several, or a function, to which any path is as near as another.
        paths: the paths there are.
        most: the greatest number of paths returned.
    """
    if callable(pattern):
        return list(paths)[:most]
    globs = (pattern,) if isinstance(pattern, str) else pattern
    words = [glob.replace("*", "").strip("/") for glob in globs]

    def likeness(path: str) -> float:
        keys = path.split("/")
        parts = ["/".join(keys[i:j]) for i in range(len(keys)) for j in range(i + 1, len(keys) + 1)]
        return max(
            difflib.SequenceMatcher(None, word, part).ratio() for word in words for part in parts
        )

    return sorted(paths, key=likeness, reverse=True)[:most]


@dataclasses.dataclass(frozen=True)
class ByPath:
    """A function of the parameters that flags the leaves whose paths match a glob.

    Attributes:
        globs: a glob of a path, or several.
    """

    globs: str | tuple[str, ...]

    def __call__(self, tree: PyTree) -> PyTree:
        """The flags, a tree of bool like ``tree``.

        Raises:
            ValueError: nothing in a whole tree matches. In a part of one, as groups see it, the
                leaves meant may be in the other parts.
        """
        with_paths, structure = jax.tree_util.tree_flatten_with_path(tree)
        paths = [path_name(path) for path, _ in with_paths]
        flags = [matches(self.globs, path, None) for path in paths]
        if not any(flags) and not is_part(tree):
            raise ValueError(
                f"the mask {self!r} matches no leaf; the nearest paths are"
                f" {', '.join(map(repr, nearest(self.globs, paths)))}"
            )
        return structure.unflatten(flags)

    def __repr__(self) -> str:
        return repr(self.globs)


def is_part(tree: PyTree) -> bool:
    """Whether leaves are left out of a tree, as :class:`fnopt.masked` and groups do."""

    def is_gap(x: Any) -> bool:
        return isinstance(x, optax.MaskedNode)

    return any(map(is_gap, jax.tree.leaves(tree, is_leaf=is_gap)))


@dataclasses.dataclass(frozen=True)
class Selection:
    """A hashable value for every leaf: a tree of them, a prefix of one, or a function giving one.

    Attributes:
        choice: the function of the parameters, or the tree's leaves.
        structure: the tree's structure; None for a function.
    """

    choice: Callable[[Params], PyTree] | tuple[Hashable, ...]
    structure: Any = None

    kind: ClassVar[str]
    """The values and where the user wrote them, for the error."""

    def tree(self, params: Params) -> PyTree:
        """The values for these parameters, a prefix of them."""
        if is_packed(params):
            return self._packed(params)
        if callable(self.choice):
            return self.choice(params)
        return self.structure.unflatten(self.choice)

    def _packed(self, params: Params) -> PyTree:
        own = None if callable(self.choice) else self.structure.unflatten(self.choice)
        if is_packed(own):
            return own

        def every(params: Params) -> PyTree:
            values = self.spread(self.tree(params), params)
            return jax.tree.structure(params).unflatten(values)

        return by_leaf(every, params, the_same)

    def spread(self, values: PyTree, params: Params) -> list[Any]:
        """A value for every leaf of the parameters, where one may stand for a whole subtree.

        Raises:
            ValueError: the values are no prefix of the parameters.
        """
        every: list[Any] = []
        try:
            jax.tree.map(
                lambda value, sub: every.extend([value] * len(jax.tree.leaves(sub))), values, params
            )
        except (ValueError, TypeError) as error:
            raise ValueError(f"{self.kind} for the parameters: {error}") from error
        return every

    def __repr__(self) -> str:
        if not callable(self.choice):
            return repr(self.tree(None))
        return getattr(self.choice, "__qualname__", None) or repr(self.choice)


class Flags(Selection):
    """Which leaves are meant: True or False for each."""

    kind = "mask is no tree of flags"

    def flags(self, tree: PyTree) -> list[bool]:
        """A flag for every leaf of ``tree``.

        Raises:
            ValueError: the flags are no prefix of the tree.
        """
        return list(map(bool, self.spread(self.tree(tree), tree)))

    def prefix(self, tree: PyTree) -> PyTree:
        """The tree of flags as the user wrote it, a prefix of ``tree``.

        Raises:
            ValueError: the flags are no prefix of the tree.
        """
        flags = self.tree(tree)
        self.spread(flags, tree)
        return jax.tree.map(bool, flags)


class Labels(Selection):
    """A label for each leaf."""

    kind = "param_labels is no tree of labels"


def _is_glob(mask: Any) -> bool:
    globs = (mask,) if isinstance(mask, str) else mask
    return type(globs) is tuple and bool(globs) and all(isinstance(glob, str) for glob in globs)


def as_flags(mask: Any) -> Flags:
    """Flags of a tree, a function, a glob of paths or several globs.

    Args:
        mask: a callable container (a model) is a tree, not a function.

    Raises:
        TypeError: a leaf of the tree is a string.
    """
    if isinstance(mask, Flags):
        return mask
    globs = tuple(mask) if isinstance(mask, list) else mask
    if _is_glob(globs):
        return Flags(ByPath(globs))
    if callable(mask) and jax.tree.leaves(mask) == [mask]:
        return Flags(mask)
    leaves, structure = jax.tree.flatten(mask)
    for leaf in leaves:
        if isinstance(leaf, str):
            raise TypeError(
                "a mask is a tree of True and False, a glob of paths or a tuple of globs, got"
                f" {brief(leaf, 40)} within a tree; write the glob alone: mask={brief(leaf, 40)}"
            )
    return Flags(tuple(map(bool, leaves)), structure)


def as_labels(labels: Any, is_label: Callable[[Any], bool] | None = None) -> Labels:
    """Labels of a tree or a function.

    Args:
        labels: a callable container is a tree, not a function.
        is_label: tells the labels that are themselves containers.
    """
    if isinstance(labels, Labels):
        return labels
    if callable(labels) and jax.tree.leaves(labels) == [labels]:
        return Labels(labels)
    leaves, structure = jax.tree.flatten(labels, is_leaf=is_label)
    return Labels(tuple(leaves), structure)


def combined(test: Callable[..., bool], *masks: Flags) -> Flags:
    """The leaves for which a test of their flags in several masks holds."""

    def flags(tree: PyTree) -> PyTree:
        rows = zip(*(mask.flags(tree) for mask in masks), strict=True)
        return jax.tree.structure(tree).unflatten([test(*row) for row in rows])

    return Flags(flags)


Mask = Annotated[
    Any, Field(convert=as_flags, static=True, shown="PyTree | Callable | str | tuple[str, ...]")
]
"""The leaves meant: a tree of flags, a prefix of one, a function of the parameters giving one, a
glob of paths such as ``"*/kernel"``, or a tuple of globs."""


def decay_mask(params: Params, names: tuple[str, ...] = ("bias", "scale")) -> PyTree:
    """Which leaves weight decay is for: matrices and kernels, no biases, scales or other vectors.

    A leaf is left out if it has fewer than two axes, or if its own name is one of ``names``: the
    biases of attention heads and of layers stacked by a scan have two axes and more. For trees of
    Flax NNX and Linen, and of any other kind.

    Args:
        params: the parameters; shapes suffice.
        names: the last parts of paths to leave out. Another choice as a mask is
            ``functools.partial(decay_mask, names=(...))``.

    Returns:
        A tree of flags like ``params``.

    >>> import fnopt, jax.numpy as jnp
    >>> fnopt.decay_mask({"kernel": jnp.ones((2, 3)), "bias": jnp.ones((4, 2)), "g": jnp.ones(3)})
    {'bias': False, 'g': False, 'kernel': True}
    >>> tx = fnopt.adamw(1e-3, weight_decay=0.1, mask=fnopt.decay_mask)
    """

    def decays(path: KeyPath, leaf: Any) -> bool:
        return jnp.ndim(leaf) > 1 and path_name(path).rpartition("/")[2] not in names

    return jax.tree_util.tree_map_with_path(decays, params)
