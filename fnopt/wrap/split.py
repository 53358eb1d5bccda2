"""A tree in parts, each of the leaves that one pattern is the first to match."""

from __future__ import annotations

import math
from typing import Any

import jax
import jax.numpy as jnp
import optax

from fnopt.core import restrict
from fnopt.core.checks import leaves_like
from fnopt.core.packed_trees import by_leaf, is_packed, the_same
from fnopt.core.select import Pattern, matches, nearest, path_name, show
from fnopt.core.types import Params, PyTree


class Split:
    """Which assignment has which leaf.

    Args:
        patterns: the patterns of the assignments, in their order.
        tree: the parameters, or a tree like them.

    Raises:
        ValueError: a pattern is the first to match no leaf, or no pattern matches a leaf.
    """

    def __init__(self, patterns: tuple[Pattern, ...], tree: PyTree) -> None:
        self.patterns = patterns
        if is_packed(tree):
            self._of_packed(tree)
            return
        with_paths, self.treedef = jax.tree_util.tree_flatten_with_path(tree)
        self.paths = [path_name(path) for path, _ in with_paths]
        self.leaves = [leaf for _, leaf in with_paths]
        matching = [
            [i for i, pattern in enumerate(patterns) if matches(pattern, path, leaf)]
            for path, leaf in zip(self.paths, self.leaves, strict=True)
        ]
        for path, indices in zip(self.paths, matching, strict=True):
            if not indices:
                raise ValueError(
                    f"groups: no pattern matches {path!r}; one for all the rest is ('*', …), the"
                    " last"
                )
        self.owners = [indices[0] for indices in matching]
        if self.paths:  # a tree without leaves stands for any
            for i, pattern in enumerate(patterns):
                pairs = zip(self.paths, matching, strict=True)
                self._check(i, pattern, [path for path, indices in pairs if i in indices])

    def _of_packed(self, tree: Any) -> None:
        """As the split of the tree that is packed; the leaves of a buffer have one owner."""

        def owners(tree: PyTree) -> PyTree:
            split = Split(self.patterns, tree)
            return split.treedef.unflatten(split.owners)

        with_paths, self.treedef = jax.tree_util.tree_flatten_with_path(tree)
        self.paths = [path_name(path) for path, _ in with_paths]
        self.leaves = [leaf for _, leaf in with_paths]
        self.owners = jax.tree.leaves(by_leaf(owners, tree, the_same))

    def _check(self, index: int, pattern: Pattern, matched: list[str]) -> None:
        if index in self.owners:
            return
        if matched:
            raise ValueError(
                f"groups: the pattern {show(pattern)!r} comes too late: all that it matches"
                f" ({', '.join(matched[:3])}{', …' if matched[3:] else ''}) is taken by patterns"
                " before it; put the special before the general"
            )
        raise ValueError(
            f"groups: the pattern {show(pattern)!r} matches no leaf; the nearest paths are"
            f" {', '.join(map(repr, nearest(pattern, self.paths)))}"
        )

    def part(self, index: int, tree: PyTree) -> PyTree:
        """The tree with the leaves of one assignment alone."""
        leaves = leaves_like(self.treedef, "updates", tree, "params")
        return self.treedef.unflatten(
            leaf if index == own else optax.MaskedNode()
            for leaf, own in zip(leaves, self.owners, strict=True)
        )

    def joined(self, index: int, part: PyTree, tree: PyTree) -> PyTree:
        """The tree with the leaves of one assignment taken from a part."""
        new, old = self.treedef.flatten_up_to(part), self.treedef.flatten_up_to(tree)
        return self.treedef.unflatten(
            x if index == own else y for x, y, own in zip(new, old, self.owners, strict=True)
        )

    def table(self, treatments: list[str], frozen: str) -> str:
        """A line for every leaf: path, shape, number of parameters, pattern, treatment.

        Args:
            treatments: the treatment of each assignment in words.
            frozen: the word for one that freezes; the last line counts its parameters.
        """
        rows = [("path", "shape", "parameters", "pattern", "gets")]
        still = total = 0
        for path, leaf, i in zip(self.paths, self.leaves, self.owners, strict=True):
            shape = jnp.shape(leaf)
            size = math.prod(shape)
            total += size
            still += size if treatments[i] == frozen else 0
            rows.append((path, str(shape), f"{size:,}", show(self.patterns[i]), treatments[i]))
        rows.append(("total", "", f"{total:,}", "", f"{frozen}: {still:,}"))
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        return "\n".join(
            "  ".join(
                cell.rjust(width) if column == 2 else cell.ljust(width)
                for column, (cell, width) in enumerate(zip(row, widths, strict=True))
            ).rstrip()
            for row in rows
        )

    def arguments(self, index: int, params: Params, extra_args: dict[str, Any]) -> dict[str, Any]:
        """The extra arguments for a transform that sees the leaves of one assignment.

        Args:
            index: the position of the assignment.
            params: the parameters, or None.
            extra_args: the extra arguments for all leaves.
        """
        if params is None:
            return extra_args
        return restrict(
            extra_args,
            lambda tree: self.part(index, tree),
            lambda part: self.joined(index, part, params),
        )
