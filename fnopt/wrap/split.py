"""A tree in parts, each of the leaves that one rule of paths is the first to match."""

from __future__ import annotations

import math
from typing import Any

import jax
import jax.numpy as jnp
import optax

from fnopt.core import restrict
from fnopt.core.checks import leaves_like
from fnopt.wrap.paths import Pattern, matches, nearest, path_name, show


class Split:
    """Which rule has which leaf.

    Args:
        patterns: of the rules, in their order.
        tree: the parameters, or what is like them.

    Raises:
        ValueError: a rule is the first to match no leaf, or a leaf has no rule.
    """

    def __init__(self, patterns: tuple[Pattern, ...], tree: Any) -> None:
        self.patterns = patterns
        with_paths, self.treedef = jax.tree_util.tree_flatten_with_path(tree)
        self.paths = [path_name(path) for path, _ in with_paths]
        self.leaves = [leaf for _, leaf in with_paths]
        found = [
            [i for i, pattern in enumerate(patterns) if matches(pattern, path, leaf)]
            for path, leaf in zip(self.paths, self.leaves, strict=True)
        ]
        for path, rules in zip(self.paths, found, strict=True):
            if not rules:
                raise ValueError(
                    f"groups: no rule matches {path!r}; one for all the rest is ('*', …), the last"
                )
        self.rules = [rules[0] for rules in found]
        if self.paths:  # a tree without leaves stands for any
            for i, pattern in enumerate(patterns):
                self._check(i, pattern, [p for p, rules in zip(self.paths, found) if i in rules])  # noqa: B905

    def _check(self, rule: int, pattern: Pattern, matched: list[str]) -> None:
        if rule in self.rules:
            return
        if matched:
            raise ValueError(
                f"groups: the rule {show(pattern)!r} comes too late: all that it matches"
                f" ({', '.join(matched[:3])}{', …' if matched[3:] else ''}) is taken by rules"
                " before it; put the special before the general"
            )
        raise ValueError(
            f"groups: the rule {show(pattern)!r} matches no leaf; the nearest paths are"
            f" {', '.join(map(repr, nearest(pattern, self.paths)))}"
        )

    def part(self, rule: int, tree: Any) -> Any:
        """The tree with the leaves of one rule alone."""
        leaves = leaves_like(self.treedef, "updates", tree, "params")
        return self.treedef.unflatten(
            leaf if rule == own else optax.MaskedNode()
            for leaf, own in zip(leaves, self.rules, strict=True)
        )

    def joined(self, rule: int, part: Any, tree: Any) -> Any:
        """The tree with the leaves of one rule from a part."""
        new, old = self.treedef.flatten_up_to(part), self.treedef.flatten_up_to(tree)
        return self.treedef.unflatten(
            x if rule == own else y for x, y, own in zip(new, old, self.rules, strict=True)
        )

    def table(self, gets: list[str], frozen: str) -> str:
        """A line for every leaf: path, shape, number of parameters, rule, what the rule gives."""
        rows = [("path", "shape", "parameters", "rule", "gets")]
        still = total = 0
        for path, leaf, rule in zip(self.paths, self.leaves, self.rules, strict=True):
            shape = jnp.shape(leaf)
            size = math.prod(shape)
            total += size
            still += size if gets[rule] == frozen else 0
            rows.append((path, str(shape), f"{size:,}", show(self.patterns[rule]), gets[rule]))
        rows.append(("total", "", f"{total:,}", "", f"{frozen}: {still:,}"))
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        return "\n".join(
            "  ".join(
                cell.rjust(width) if column == 2 else cell.ljust(width)
                for column, (cell, width) in enumerate(zip(row, widths, strict=True))
            ).rstrip()
            for row in rows
        )

    def arguments(self, rule: int, params: Any, given: dict[str, Any]) -> dict[str, Any]:
        """The extra arguments as a transform wants them that sees the leaves of one rule."""
        if params is None:
            return given
        return restrict(
            given, lambda tree: self.part(rule, tree), lambda part: self.joined(rule, part, params)
        )
