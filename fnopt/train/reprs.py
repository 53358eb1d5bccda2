"""Short words for trees of arrays, numbers and calls: what train states and results print."""

from __future__ import annotations

import collections
from collections.abc import Iterable, Mapping
from typing import Any

import jax
import numpy as np
from jax.core import Tracer

from fnopt.core.types import PyTree

WIDTH = 80
"""Columns of a line."""


def call(name: str, *groups: str) -> str:
    """A call with its arguments: on one line if it fits, otherwise a line for each group.

    Args:
        name: name of the class.
        *groups: arguments that belong on one line; an empty group is left out.

    >>> print(call("History", "epochs=2", "loss=0.5"))
    History(epochs=2, loss=0.5)
    """
    groups = tuple(filter(None, groups))
    line = f"{name}({', '.join(groups)})"
    if len(line) <= WIDTH:
        return line
    return "\n".join([f"{name}(", *(f"    {group}," for group in groups), ")"])


def listed(fields: Mapping[str, Any]) -> str:
    """Fields of a call, ``name=value``; broken into indented lines where they are long.

    Args:
        fields: values by name; numbers have four digits.
    """
    return wrapped(f"{name}={number(x)}" for name, x in fields.items())


def wrapped(items: Iterable[str]) -> str:
    """Items with commas between them; a new, indented line begins where one would be too long."""
    lines = [""]
    for item in items:
        longer = f"{lines[-1]}, {item}" if lines[-1] else item
        if lines[-1] and len(longer) > WIDTH - 5:
            lines[-1] += ","
            longer = item
            lines.append("")
        lines[-1] = longer
    return "\n    ".join(lines)


def number(x: Any) -> str:
    """A number in words; of an array that is not a known number, dtype and shape.

    >>> number(0.123456), number(660), number(jax.ShapeDtypeStruct((3,), "int32"))
    ('0.1235', '660', 'int32[3]')
    """
    if not is_array(x):
        return f"{x:.4g}" if isinstance(x, float) else repr(x)
    return number(np.asarray(x).item()) if _is_known(x) else f"{x.dtype}{list(x.shape)}"


def size(tree: PyTree, noun: str = "numbers") -> str:
    """How much a tree holds: its numbers, their dtypes and bytes.

    It reads shapes alone, so that the arrays may be abstract, traced or deleted.

    Args:
        tree: a tree of arrays.
        noun: what its numbers are, in the plural.

    >>> size({"w": np.zeros((128, 200), np.float32), "b": np.zeros(200, np.float32)}, "parameters")
    '25,800 parameters, float32, 103 kB'
    """
    leaves = jax.tree.leaves(tree)
    if not all(map(is_array, leaves)):
        kinds = sorted({type(leaf).__name__ for leaf in leaves})
        return f"{len(leaves)} leaves, {' and '.join(kinds)}"
    if not leaves:
        return f"no {noun}"
    counts: collections.Counter[Any] = collections.Counter()
    for leaf in leaves:
        counts[leaf.dtype] += int(np.prod(leaf.shape))
    total = sum(counts.values())
    dtypes = " and ".join(str(dtype) for dtype, _ in counts.most_common())
    noun = noun.removesuffix("s") if total == 1 else noun
    return f"{total:,} {noun}, {dtypes}, {_bytes(sum(n * d.itemsize for d, n in counts.items()))}"


def is_array(x: Any) -> bool:
    """Whether something has a shape and a dtype: an array, or an abstract one."""
    return hasattr(x, "shape") and hasattr(x, "dtype")


def _is_known(x: Any) -> bool:
    """Whether an array is one number that this process can read; a PRNG key is none."""
    if x.shape or not isinstance(x.dtype, np.dtype):
        return False
    if not isinstance(x, jax.Array):
        return isinstance(x, (np.ndarray, np.generic))
    if isinstance(x, Tracer) or x.is_deleted():
        return False
    return x.is_fully_addressable or x.is_fully_replicated


def _bytes(count: int) -> str:
    size, units = float(count), ["bytes", "kB", "MB", "GB", "TB"]
    while size >= 999.5 and len(units) > 1:
        size, units = size / 1000, units[1:]
    return f"{size:.3g} {units[0]}"
