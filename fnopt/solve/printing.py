"""Arrays in messages and results, in short."""

from __future__ import annotations

from typing import Any


class Words(str):
    """Text that prints without quotes, also within a container."""

    def __repr__(self) -> str:
        return str(self)


def kind(x: Any) -> Words:
    """The dtype and shape of an array, or what else something prints as."""
    return Words(f"{x.dtype}{list(x.shape)}" if hasattr(x, "dtype") else repr(x))
