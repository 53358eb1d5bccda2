"""Limits on the size of what is read from a file of weights, and short names in messages."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from itertools import islice

MOST_BYTES = 100_000_000
"""Bytes of a header, a pickle or an index; the format of safetensors has the same limit."""
MOST_TENSORS = 1_000_000
MOST_CHARACTERS = 1000
"""Characters of a tensor's name."""
MOST_AXES = 32
MOST_ELEMENTS = 2**48
"""The largest length of an axis, offset or stride."""


def short(text: object, most: int = 80) -> str:
    """A text of a file on one line of a message: printable, its middle left out if it is long.

    >>> short("a" * 1000, most=10)
    'aaaaa…aaaaa (1000 characters)'
    """
    whole = text if isinstance(text, str) else str(text)
    half = most // 2
    shown = whole if len(whole) <= most else f"{whole[:half]}…{whole[-half:]}"
    if not shown.isprintable():
        shown = repr(shown)[1:-1]
    return shown if len(whole) <= most else f"{shown} ({len(whole)} characters)"


def some(names: Collection[str], most: int = 8, *, quoted: bool = False) -> str:
    """The first names, shortened, and how many more there are.

    >>> some(["a", "b", "c"], most=2)
    'a, b and 1 more'
    """
    first = [short(name) for name in islice(names, most)]
    shown = ", ".join(map(repr, first) if quoted else first)
    return shown + f" and {len(names) - most} more" * (len(names) > most)


def check_size(what: str, size: int) -> None:
    """Raises ValueError for a header, a pickle or an index of too many bytes."""
    if size > MOST_BYTES:
        raise ValueError(
            f"{what} has {size} bytes, and at most {MOST_BYTES} are read; save the weights alone,"
            " or in several files"
        )


def check_names(names: Iterable[str], count: int) -> None:
    """Raises ValueError for too many names, and for names that are too long."""
    if count > MOST_TENSORS:
        raise ValueError(
            f"it has {count} tensors, and at most {MOST_TENSORS} are read; save those that are"
            " needed alone"
        )
    for name in names:
        if len(name) > MOST_CHARACTERS:
            raise ValueError(
                f"the name {short(name)} is longer than {MOST_CHARACTERS} characters; save the"
                " tensor under a shorter one"
            )
