"""What of many cases ``make test`` runs; ``make test-all`` runs every one."""

from __future__ import annotations

import zlib
from collections.abc import Iterable
from typing import Any

import pytest


def in_share(name: str, of: int, shift: int = 0) -> bool:
    """Whether one of several shares of all names has this one, which no other name decides."""
    return (zlib.crc32(name.encode()) + shift) % of == 0


def often(values: Iterable[Any], *chosen: Any) -> list[Any]:
    """Values as parameters, slow but for the chosen ones; a tuple is several parameters."""
    return [
        pytest.param(
            *(x if isinstance(x, tuple) else (x,)), marks=[] if x in chosen else pytest.mark.slow
        )
        for x in values
    ]
