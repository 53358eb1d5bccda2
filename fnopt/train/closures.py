"""Descriptions of functions, the same in every process: their names and what they close over."""

from __future__ import annotations

import dataclasses
import functools
import zlib
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

MOST = 160
"""Number of characters of a description that a message shows."""


def holds_function(x: Any) -> bool:
    """Whether a static field is a function or contains one."""
    if isinstance(x, (tuple, list)):
        return any(map(holds_function, x))
    if isinstance(x, dict):
        return any(map(holds_function, x.values()))
    if dataclasses.is_dataclass(x) and not isinstance(x, type):
        return any(map(holds_function, vars(x).values()))
    return callable(x) and not isinstance(x, type)


def closure(x: Any, above: tuple[int, ...] = ()) -> str:
    """The name of a function, with its defaults and the variables that it closes over.

    The contents of a list are left out: it is often one that the function fills.

    Args:
        x: a function, or a variable of its closure.
        above: identities of the objects that contain it, which are not described again.
    """
    if x is None or isinstance(x, (bool, int, float, complex, str, bytes)):
        return repr(x)
    if id(x) in above:
        return "…"
    above = (*above, id(x))
    if isinstance(x, functools.partial):
        parts = (x.func, x.args, x.keywords)
        return f"partial({', '.join(closure(part, above) for part in parts)})"
    if isinstance(x, dict):
        return f"{{{', '.join(f'{name}: {closure(y, above)}' for name, y in x.items())}}}"
    if isinstance(x, tuple):
        return f"({', '.join(closure(y, above) for y in x)})"
    if isinstance(x, (np.ndarray, np.generic, jax.Array)):
        return _array(x)
    if dataclasses.is_dataclass(x) and not isinstance(x, type):
        return f"{type(x).__qualname__}{closure(vars(x), above)}"
    if isinstance(x, type):
        return x.__qualname__
    code = getattr(x, "__code__", None)
    if code is None:
        inner = getattr(x, "__wrapped__", None) or getattr(x, "__func__", None)
        return closure(inner, above) if inner is not None else _name(x)
    cells = dict(zip(code.co_freevars, x.__closure__ or (), strict=False))
    variables = [f"{name}={_cell(cell, above)}" for name, cell in cells.items()]
    variables += [closure(y, above) for y in x.__defaults__ or ()]
    variables += [f"{name}={closure(y, above)}" for name, y in (x.__kwdefaults__ or {}).items()]
    return f"{x.__qualname__}({', '.join(variables)})" if variables else x.__qualname__


def from_difference(a: str, b: str) -> tuple[str, str]:
    """Two descriptions; of long ones the part where they begin to differ."""
    if max(len(a), len(b)) <= MOST:
        return a, b
    same = next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), 0)
    begin = max(0, same - MOST // 4)

    def part(text: str) -> str:
        end = begin + MOST
        return "…" * (begin > 0) + text[begin:end] + "…" * (len(text) > end)

    return part(a), part(b)


def _name(x: Any) -> str:
    return getattr(x, "__qualname__", type(x).__qualname__)


def _cell(cell: Any, above: tuple[int, ...]) -> str:
    try:
        return closure(cell.cell_contents, above)
    except ValueError:  # empty
        return "…"


def _array(x: Any) -> str:
    if isinstance(x, Tracer) or jnp.issubdtype(x.dtype, jax.dtypes.prng_key):
        return f"{x.dtype}{list(x.shape)}"
    x = np.asarray(x)
    return repr(x.item()) if x.ndim == 0 else f"{x.dtype}{list(x.shape)} {zlib.crc32(x.tobytes())}"
