"""Arrays in messages and results, in short."""

from __future__ import annotations

from typing import Any


class Unquoted(str):
    """Text that prints without quotes, also within a container."""

    def __repr__(self) -> str:
        return str(self)


def array_type(x: Any) -> Unquoted:
    """The dtype and shape of an array, such as ``float32[3]``; the ``repr`` of anything else."""
    return Unquoted(f"{x.dtype}{list(x.shape)}" if hasattr(x, "dtype") else repr(x))
