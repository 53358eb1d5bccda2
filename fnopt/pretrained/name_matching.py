"""Which leaf each tensor of a file is for: by rules, and by its name where they leave it open."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Container, Iterable, Iterator
from typing import Any

from fnopt.core.select import Pattern, nearest
from fnopt.pretrained.limits import short
from fnopt.pretrained.renames import Rename, slashed

OTHER_NAMES = {
    "weight": ("kernel", "scale", "embedding"),
    "running_mean": ("mean",),
    "running_var": ("var",),
}
"""Flax's names of what torch's layers have."""
WRAPPERS = ("module/", "_orig_mod/", "params/", "model_state/", "batch_stats/")
"""What data parallelism, compilation, Linen's collections and a train state put before a name."""

_COUNTERS = "num_batches_tracked"
"""torch's batch normalization counts its batches, which only its momentum=None makes use of."""

_MOST_WRAPPERS = 8
"""How many of them are passed over; each gives a dozen more names to look for."""


class NameMatching:
    """Which tensor of a file goes to which leaf.

    Args:
        names: the names of the file.
        paths: the paths of the leaves.
        renames: the rules; the first that matches a name wins.
        unloaded: paths of leaves that are not to be loaded.

    Attributes:
        sources: name in the file and layout of a rule (or None), by path.
        unused: names that no leaf has.
        left_out: names left out on purpose: by a rule, for a leaf of ``unloaded``, torch's
            counters.

    Raises:
        ValueError: two names match one leaf, or a rule is the first to match no name.
    """

    def __init__(
        self,
        names: Collection[str],
        paths: Iterable[str],
        renames: list[Rename],
        unloaded: Collection[str],
    ) -> None:
        self.sources: dict[str, tuple[str, Callable[[Any], Any] | None]] = {}
        self.unused: list[str] = []
        self.left_out: list[str] = []
        known, used = _known(paths), set()
        for name in names:
            new_name, rename = _renamed(name, renames)
            used.add(id(rename))
            guess = None if new_name is None else guessed(new_name, known)
            path = None if guess is None else known[guess]
            if path in self.sources:
                raise ValueError(
                    f"load_pretrained: {short(self.sources[path][0])!r} and {short(name)!r} of the"
                    f" file both stand for {path!r}; leave one out by a rule, (name, None)"
                )
            counter = path is None and name.endswith(_COUNTERS)
            if new_name is None or path in unloaded or counter:
                self.left_out.append(name)
            elif path is None:
                self.unused.append(name)
            else:
                self.sources[path] = name, rename.layout if rename else None
        for rename in renames:
            if id(rename) not in used:
                raise ValueError(
                    f"load_pretrained: the rule {str(rename)!r} is the first to match no name of"
                    f" the file{closest(slashed(str(rename)), names)}"
                )


def closest(pattern: Pattern, names: Collection[str]) -> str:
    """The names most like a pattern, for the end of a message; nothing if there are none.

    Likeness is costly. So of many names one of each kind is compared, names of a kind differing in
    their numbers alone, and long names are not.
    """
    kinds: dict[str, str] = {}
    for name in names:
        if len(name) <= 100 and name.count("/") < 12 and len(kinds) < 100:
            kinds.setdefault(re.sub(r"\d+", "0", name) if len(names) > 100 else name, name)
    near = ", ".join(repr(short(name)) for name in nearest(pattern, kinds.values()))
    return f"; the nearest are {near}" if near else ""


def guessed(name: str, paths: Container[str]) -> str | None:
    """The path that a name stands for; None if there is none.

    It is the name itself with slashes for dots, or one that differs in this: ``weight`` is
    ``kernel``, ``scale`` or ``embedding``, ``running_mean`` is ``mean``, ``running_var`` is
    ``var``; ``0`` is ``layers/0`` (a Sequential) and ``layers/0`` is ``layers_0`` (Linen); a
    wrapper's prefix (of up to 8 wrappers) or the ``value`` of Flax NNX is left out.
    """
    return next((path for path in _candidates(slashed(name)) if path in paths), None)


def _renamed(name: str, renames: list[Rename]) -> tuple[str | None, Rename | None]:
    """The new name by the first rule that matches, and that rule."""
    for rename in renames:
        try:
            return rename.apply(name), rename
        except KeyError:
            continue
    return name, None


def _known(paths: Iterable[str]) -> dict[str, str]:
    """The paths by themselves, and by their remainder without Linen's collection."""
    paths = list(paths)
    known = {slashed(path): path for path in paths}
    for path in paths:
        if path.split("/")[0] in ("params", "batch_stats"):
            known.setdefault(slashed(path.split("/", 1)[-1]), path)
    return known


def _candidates(name: str) -> Iterator[str]:
    bodies = [name]
    for _ in range(_MOST_WRAPPERS):
        wrapper = next((w for w in WRAPPERS if bodies[-1].startswith(w)), None)
        if wrapper is None:
            break
        bodies.append(bodies[-1].removeprefix(wrapper))
    for body in bodies:
        for plain in dict.fromkeys((body, body.removesuffix("/value"))):
            above, _, last = plain.rpartition("/")
            numbered = (
                above,
                re.sub(r"(^|/)(?<!layers/)(\d+)(?=/|$)", r"\1layers/\2", above),
                re.sub(r"/(\d+)(?=/|$)", r"_\1", above),
            )
            for stem in dict.fromkeys(numbered):
                for leaf in (last, *OTHER_NAMES.get(last, ())):
                    yield f"{stem}/{leaf}".strip("/")
