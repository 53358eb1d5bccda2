"""Warnings at the line of a user's program, of former names among them."""

from __future__ import annotations

import sys
import warnings
from types import FrameType

PACKAGE = __name__.partition(".")[0]


def warn_deprecated(message: str) -> None:
    """Warns of a name that works for one more version; Python shows that of a user's program alone.

    Args:
        message: what has another name now, and how long the former one works.
    """
    warn_caller(message, DeprecationWarning)


def warn_caller(message: str, category: type[Warning] = UserWarning) -> None:
    """Warns at the line that called this package.

    Args:
        message: the warning.
        category: its class.
    """
    frame, level = sys._getframe(), 1
    # Not by the file: the methods that dataclasses write have none.
    while frame.f_back is not None and _package(frame) == PACKAGE:
        frame, level = frame.f_back, level + 1
    warnings.warn(message, category, stacklevel=level)


def _package(frame: FrameType) -> str:
    return frame.f_globals.get("__name__", "").partition(".")[0]
