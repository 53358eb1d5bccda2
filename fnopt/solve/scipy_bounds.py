"""Bounds of a vector as SciPy takes them: objects, pairs for each variable, lists."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from fnopt.core.checks import brief
from fnopt.core.types import Params


def as_pair(caller: str, bounds: Any, start: Params) -> tuple[Any, Any]:
    """Bounds as a pair of the lower and the upper ones.

    Args:
        caller: the function that was called.
        bounds: a pair ``(lower, upper)``; an object with ``lb`` and ``ub``; for a vector also lists
            of numbers and None, as a pair of them, or as in SciPy's ``minimize`` a pair for each
            variable. Two lists of two are pairs of variables if they are tuples in a list.
        start: the parameters at the start.

    Raises:
        TypeError: it is none of these, or may be pairs of variables and a pair of lists.
    """
    if hasattr(bounds, "lb") and hasattr(bounds, "ub"):
        return bounds.lb, bounds.ub
    rows = bounds.tolist() if isinstance(bounds, np.ndarray) else bounds
    is_nested = isinstance(start, jax.Array) and _is_nested(rows)
    if is_nested and start.ndim == 1:
        sizes = {len(row) if isinstance(row, list | tuple) else None for row in rows}
        is_pair = len(rows) == 2 and sizes <= {start.size, None}
        are_pairs = caller == "minimize" and len(rows) == start.size and sizes == {2}
        if is_pair and are_pairs:
            are_pairs = isinstance(rows, list) and all(isinstance(row, tuple) for row in rows)
            if not are_pairs:
                raise TypeError(
                    f"{caller}: bounds {brief(bounds)} may be (lower, upper) or pairs of variables;"
                    " write a pair of arrays, (jnp.array(lower), jnp.array(upper)), or a list of"
                    " tuples, [(low, high), (low, high)]"
                )
        if are_pairs:
            rows = tuple(zip(*rows, strict=True))
        if are_pairs or is_pair:
            return _as_array(rows[0], -jnp.inf, start), _as_array(rows[1], jnp.inf, start)
    # Of a tuple of two numbers, two pairs in a list would pass for its lower and upper bounds.
    is_nested |= isinstance(bounds, list) and isinstance(start, tuple) and _is_nested(bounds)
    if not isinstance(bounds, tuple | list) or len(bounds) != 2 or is_nested:
        raise TypeError(
            f"{caller}: bounds must be a pair (lower, upper), each a number, None or a tree like"
            f" x0, got {brief(bounds)}; for a vector x0 a list of tuples, (low, high) for each of"
            " its variables, is taken as well"
        )
    return bounds[0], bounds[1]


def _is_nested(bounds: Any) -> bool:
    """Whether there are lists or tuples in a list or tuple."""
    return isinstance(bounds, list | tuple) and any(isinstance(x, list | tuple) for x in bounds)


def _as_array(bound: Any, without: float, start: jax.Array) -> Any:
    """A list of numbers as an array, None replaced."""
    if isinstance(bound, list | tuple):
        return jnp.array([without if x is None else x for x in bound], start.dtype)
    return bound
