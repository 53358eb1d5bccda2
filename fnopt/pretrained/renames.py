"""Rules that rename the tensors of a file."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple


class Rename(NamedTuple):
    """A rule: the names it matches, their new name, and the layout of those tensors.

    Attributes:
        pattern: a regular expression; or the texts between the stars of a glob.
        replacement: the new name; None leaves the tensor out.
        layout: a function of the array; None for the layout that the new name implies.
        source: the pattern as the caller wrote it.
    """

    pattern: re.Pattern[str] | tuple[str, ...]
    replacement: str | None
    layout: Callable[[Any], Any] | None
    source: str | re.Pattern[str]

    def apply(self, name: str) -> str | None:
        """The new name; None if it is left out. Raises KeyError where the rule does not match."""
        plain = slashed(name)
        if isinstance(self.pattern, re.Pattern):
            match = self.pattern.fullmatch(name) or self.pattern.fullmatch(plain)
            if match is None:
                raise KeyError(name)
            return self.replacement and match.expand(self.replacement).strip("/")
        tried = (starred(self.pattern, text) for text in (name, plain, f"/{plain}"))
        stars = next((texts for texts in tried if texts is not None), None)
        if stars is None:
            raise KeyError(name)
        if self.replacement is None:
            return None
        first, *parts = self.replacement.split("*")
        filled = (a + b for a, b in zip(stars, parts, strict=False))
        return "".join([first, *filled]).strip("/")

    def __str__(self) -> str:
        return self.source if isinstance(self.source, str) else self.source.pattern


def as_renames(rules: Iterable[Any]) -> list[Rename]:
    """Rules of pairs (pattern, new name) or triples (pattern, new name, layout).

    Raises:
        TypeError: one is neither.
        ValueError: a new name has stars, but not as many as its pattern.
    """
    renames = []
    for rule in rules:
        if not isinstance(rule, tuple) or len(rule) not in (2, 3):
            raise TypeError(
                "load_pretrained: a rule is (pattern, name) or (pattern, name, layout), got"
                f" {rule!r}"
            )
        source, name, layout = (*rule, None)[:3]
        if not isinstance(source, (str, re.Pattern)) or not isinstance(name, (str, type(None))):
            raise TypeError(
                "load_pretrained: a rule's first is a glob or re.compile(…), its second a name or"
                f" None, got {rule!r}"
            )
        if not (layout is None or callable(layout)):
            raise TypeError(f"load_pretrained: a rule's layout is a function, got {layout!r}")
        pattern = source
        if isinstance(source, str):
            if name is not None and name.count("*") not in (0, source.count("*")):
                raise ValueError(
                    f"load_pretrained: {name!r} must have as many stars as {source!r}, or none; to"
                    " say which is which give a regular expression, re.compile(…)"
                )
            pattern = tuple(slashed(source).split("*"))
        renames.append(Rename(pattern, name, layout, source))  # pyright: ignore[reportArgumentType]
    return renames


def starred(pieces: tuple[str, ...], text: str) -> list[str] | None:
    """The texts that the stars of a glob match, the first the shortest; None if it does not match.

    Each piece is searched once, from the end of the one before it: where a glob matches at all,
    it matches with every piece as early as it can be, and a regular expression would try the others
    too.

    Args:
        pieces: the texts between the stars.
        text: a name.

    >>> starred(("net/", "/", ""), "net/body/0/weight")
    ['body', '0/weight']
    """
    first, *rest = pieces
    if not text.startswith(first) or not text[len(first) :].endswith(pieces[-1] if rest else ""):
        return None
    if not rest:
        return [] if text == first else None
    begin, end, stars = len(first), len(text) - len(pieces[-1]), []
    for piece in rest[:-1]:
        at = text.find(piece, begin, end)
        if at < 0:
            return None
        stars.append(text[begin:at])
        begin = at + len(piece)
    return [*stars, text[begin:end]]


def slashed(name: str) -> str:
    """A name as a path."""
    return name.replace(".", "/").strip("/")
