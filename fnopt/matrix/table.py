"""A table of how leaves are seen, and what they get."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from fnopt.core.types import Params
from fnopt.matrix.choice import as_matrices
from fnopt.matrix.view import KINDS, Seen

WIDTH = 80
"""Columns of a terminal; longer paths lose their beginning."""


def matrices_table(params: Params, matrices: Any = None) -> str:
    """A table with a line for every leaf: how it is seen as matrices, and what decided that.

    Args:
        params: the parameters; shapes suffice.
        matrices: rules, as those of :class:`muon`; names and shapes decide if None.

    Raises:
        ValueError: a rule matches no leaf, or its words are not one for each axis.

    >>> import fnopt, jax.numpy as jnp
    >>> params = {"blocks": {"kernel": jnp.ones((12, 8, 32))}, "head": {"kernel": jnp.ones((8, 4))}}
    >>> print(fnopt.matrices_table(params, (("blocks/*", "stack in out"),)))
    leaf           seen as                               kind    by
    blocks/kernel  12 × 8 × 32 → 12 matrices of 32 × 8   hidden  rule
    head/kernel    8 × 4 → 1 matrix of 4 × 8             head    name
    hidden: 3,072 parameters in 12 matrices
    head: 32 parameters in 1 matrix
    """
    rules = as_matrices(matrices)
    rules.check("matrices_table", params)
    seen = rules.seen(params)
    lines = [(x.path, as_seen(x), x.kind, x.why) for x in seen]
    groups = {kind: [x for x in seen if x.kind == kind] for kind in KINDS}
    return "\n".join([*laid_out(("leaf", "seen as", "kind", "by"), lines), *totals(groups)])


def as_seen(x: Seen) -> str:
    """The shape of a leaf, and what it is as matrices."""
    return str(x.view) if x.view else " × ".join(map(str, x.shape)) or "scalar"


def laid_out(head: Sequence[str], lines: Sequence[Sequence[str]], width: int = WIDTH) -> list[str]:
    """The lines of a table.

    Args:
        head: the titles of the columns.
        lines: the cells.
        width: the greatest length of a line, where shortening the first cells suffices.
    """
    rows = [tuple(head), *map(tuple, lines)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    room = max(width - sum(widths[1:]) - 2 * (len(widths) - 1), 16)
    widths[0] = min(widths[0], room)
    rows = [(_shortened(row[0], room), *row[1:]) for row in rows]
    return [
        "  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]


def _shortened(path: str, most: int) -> str:
    path = path or "(the whole)"
    return path if len(path) <= most else "…" + path[len(path) - most + 1 :]


def cut(text: str) -> str:
    """A line of a table, without its end if it is too long."""
    return text if len(text) <= WIDTH else text[: WIDTH - 1] + "…"


def totals(groups: Mapping[str, Sequence[Seen]]) -> list[str]:
    """How many parameters each group has, and in how many matrices: a line for each."""
    lines = []
    for name, seen in groups.items():
        if not seen:
            continue
        size = sum(math.prod(x.shape) for x in seen)
        count = sum(x.view.size("stack") for x in seen if x.view)
        of = f" in {count:,} {'matrices' if count != 1 else 'matrix'}" if count else ""
        lines.append(f"{name}: {size:,} parameters{of}")
    return lines
