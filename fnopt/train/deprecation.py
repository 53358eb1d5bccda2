"""Warnings of names that work for one more version."""

from __future__ import annotations

import sys
import warnings
from pathlib import Path

_PACKAGE = str(Path(__file__).parents[1])


def warn_deprecated(message: str) -> None:
    """Warns at the line that called this package; Python shows that of a user's program alone.

    Args:
        message: what has another name now, and how long the former one works.
    """
    frame, level = sys._getframe(), 1
    while frame.f_back is not None and frame.f_code.co_filename.startswith(_PACKAGE):
        frame, level = frame.f_back, level + 1
    warnings.warn(message, DeprecationWarning, stacklevel=level)
