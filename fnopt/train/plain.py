"""Records as JSON, with any values that a callback has put into them."""

from __future__ import annotations

import json
import math
import reprlib
from typing import Any

import numpy as np

MOST_NUMBERS = 1000
"""Largest number of entries of an array that is written as a list."""


def plain(x: Any, depth: int = 0) -> Any:
    """The same as numbers, strings, lists and dicts, which JSON knows; else its ``repr``.

    Args:
        x: anything.
        depth: number of containers around it; beyond 20 an abbreviated ``repr`` is used.
    """
    if x is None or isinstance(x, (bool, int, float, str)):
        return x
    if depth > 20:
        return reprlib.repr(x)
    if isinstance(x, dict):
        return {str(name): plain(y, depth + 1) for name, y in x.items()}
    if isinstance(x, (list, tuple, set, frozenset)):
        return [plain(y, depth + 1) for y in x]
    try:
        if hasattr(x, "dtype") and hasattr(x, "shape") and np.size(x) <= MOST_NUMBERS:
            array = np.asarray(x)
            if array.dtype.kind not in "biuf":  # bfloat16 among them
                array = array.astype(np.float64)
            return array.tolist()
        return reprlib.repr(x)
    except Exception:  # a deleted array, a repr that raises: a record is not worth a run
        return f"<{type(x).__name__}>"


def dumps(x: Any) -> str:
    """JSON that :func:`loads` reads back; NaN, say, as ``{"number": "nan"}``."""
    return json.dumps(_named(plain(x)), indent=1, allow_nan=False)


def loads(text: str) -> Any:
    """The value that :func:`dumps` has written."""
    return _unnamed(json.loads(text))


def line(record: dict[str, Any]) -> str:
    """A record as one line of JSON, in which what is not finite is null."""
    return json.dumps(_finite(plain(record)), allow_nan=False) + "\n"


def _finite(x: Any) -> Any:
    if isinstance(x, dict):
        return {name: _finite(y) for name, y in x.items()}
    if isinstance(x, list):
        return [_finite(y) for y in x]
    return None if isinstance(x, float) and not math.isfinite(x) else x


def _named(x: Any) -> Any:
    if isinstance(x, dict):
        return {name: _named(y) for name, y in x.items()}
    if isinstance(x, list):
        return [_named(y) for y in x]
    return {"number": repr(float(x))} if isinstance(x, float) and not math.isfinite(x) else x


def _unnamed(x: Any) -> Any:
    if isinstance(x, dict):
        if x.keys() == {"number"} and x["number"] in ("nan", "inf", "-inf"):
            return float(x["number"])
        return {name: _unnamed(y) for name, y in x.items()}
    return [_unnamed(y) for y in x] if isinstance(x, list) else x
