"""Text in lines that fit a terminal and break between words."""

from __future__ import annotations

import shutil
import textwrap
from typing import TextIO

WIDEST = 100
"""Most columns of a line of text, on terminals that are wider."""


def wrapped(text: str, indent: str = "", first: str | None = None) -> str:
    """Text in lines that fit the terminal, 80 columns without one.

    Args:
        text: words; what divides them becomes a space.
        indent: what each line begins with.
        first: what the first line begins with; ``indent`` if None.
    """
    return textwrap.fill(
        " ".join(text.split()),
        min(shutil.get_terminal_size().columns, WIDEST),
        initial_indent=indent if first is None else first,
        subsequent_indent=indent,
        break_long_words=False,
        break_on_hyphens=False,
    )


def fitted(text: str, stream: TextIO) -> str:
    """Text for a stream: wrapped for a terminal, line by line, and as it is for a file."""
    if not getattr(stream, "isatty", bool)():
        return text
    return "\n".join(wrapped(line) for line in text.splitlines())
