"""Which leaf a tensor of a file is for: by rules, and by a guess where they leave it open."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Container, Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.tree_util import SequenceKey

from fnopt.pretrained.limits import short
from fnopt.wrap.paths import Pattern, nearest, path_name

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


class Rule(NamedTuple):
    """A rename: which names, what of them, and in which layout; None leaves them out.

    A glob has no pattern but what stands between its stars.
    """

    pattern: re.Pattern[str] | tuple[str, ...]
    replacement: str | None
    layout: Callable[[Any], Any] | None
    given: Any

    def apply(self, name: str) -> str | None:
        """The new name; None if it is left out. Raises KeyError where the rule does not match."""
        plain = slashed(name)
        if isinstance(self.pattern, re.Pattern):
            match = self.pattern.fullmatch(name) or self.pattern.fullmatch(plain)
            if match is None:
                raise KeyError(name)
            return self.replacement and match.expand(self.replacement).strip("/")
        tried = (starred(self.pattern, text) for text in (name, plain, f"/{plain}"))
        stars = next((found for found in tried if found is not None), None)
        if stars is None:
            raise KeyError(name)
        if self.replacement is None:
            return None
        first, *parts = self.replacement.split("*")
        filled = (a + b for a, b in zip(stars, parts, strict=False))
        return "".join([first, *filled]).strip("/")


def as_rules(given: Iterable[Any]) -> list[Rule]:
    """Rules of pairs (which, what) or triples (which, what, layout).

    Raises:
        TypeError: one is neither.
        ValueError: a replacement has stars, but not as many as its pattern.
    """
    rules = []
    for rule in given:
        if not isinstance(rule, tuple) or len(rule) not in (2, 3):
            raise TypeError(
                f"load_pretrained: a rule is (which, what) or (which, what, layout), got {rule!r}"
            )
        which, what, layout = (*rule, None)[:3]
        if not isinstance(which, (str, re.Pattern)) or not isinstance(what, (str, type(None))):
            raise TypeError(
                "load_pretrained: a rule's first is a glob or re.compile(…), its second a name or"
                f" None, got {rule!r}"
            )
        if not (layout is None or callable(layout)):
            raise TypeError(f"load_pretrained: a rule's layout is a function, got {layout!r}")
        pattern = which
        if isinstance(which, str):
            if what is not None and what.count("*") not in (0, which.count("*")):
                raise ValueError(
                    f"load_pretrained: {what!r} must have as many stars as {which!r}, or none; to"
                    " say which is which give a regular expression, re.compile(…)"
                )
            pattern = tuple(slashed(which).split("*"))
        rules.append(Rule(pattern, what, layout, which))  # pyright: ignore[reportArgumentType]
    return rules


def starred(pieces: tuple[str, ...], text: str) -> list[str] | None:
    """What the stars of a glob stand for, the first for the least; None if it does not match.

    Each piece is looked for once, from the end of the one before it: where a glob matches at all,
    it matches with every piece as early as it can be, and a regular expression would try the others
    too.

    Args:
        pieces: what stands between the stars.
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


class Assignment:
    """Which tensor of a file goes to which leaf.

    Attributes:
        sources: for a path the name in the file, and the layout that a rule gives.
        unused: names that are no leaf's.
        left_out: names that are not wanted: by a rule, for a leaf that is kept, torch's counters.

    Args:
        names: of the file.
        paths: of the leaves.
        rules: the first that matches a name wins.
        kept: paths of leaves that are not to be loaded.

    Raises:
        ValueError: two names stand for one leaf, or a rule is the first to match none.
    """

    def __init__(
        self, names: Collection[str], paths: Iterable[str], rules: list[Rule], kept: Collection[str]
    ) -> None:
        self.sources: dict[str, tuple[str, Callable[[Any], Any] | None]] = {}
        self.unused: list[str] = []
        self.left_out: list[str] = []
        known, used = _known(paths), set()
        for name in names:
            wanted, rule = _renamed(name, rules)
            used.add(id(rule))
            guess = None if wanted is None else guessed(wanted, known)
            path = None if guess is None else known[guess]
            if path in self.sources:
                raise ValueError(
                    f"load_pretrained: {short(self.sources[path][0])!r} and {short(name)!r} of the"
                    f" file both stand for {path!r}; leave one out by a rule, (name, None)"
                )
            if wanted is None or path in kept or (path is None and name.endswith(_COUNTERS)):
                self.left_out.append(name)
            elif path is None:
                self.unused.append(name)
            else:
                self.sources[path] = name, rule.layout if rule else None
        for rule in rules:
            if id(rule) not in used:
                shown = rule.given if isinstance(rule.given, str) else rule.given.pattern
                raise ValueError(
                    f"load_pretrained: the rule {shown!r} is the first to match no name of the"
                    f" file{closest(slashed(shown), names)}"
                )


def _renamed(name: str, rules: list[Rule]) -> tuple[str | None, Rule | None]:
    """What the first rule that matches makes of a name, and that rule."""
    for rule in rules:
        try:
            return rule.apply(name), rule
        except KeyError:
            continue
    return name, None


def _known(paths: Iterable[str]) -> dict[str, str]:
    """The paths by themselves, and by what is left of them without Linen's collection."""
    paths = list(paths)
    known = {slashed(path): path for path in paths}
    for path in paths:
        if path.split("/")[0] in ("params", "batch_stats"):
            known.setdefault(slashed(path.split("/", 1)[-1]), path)
    return known


def guessed(name: str, paths: Container[str]) -> str | None:
    """The path that a name stands for; None if there is none.

    It is the name itself with slashes for dots, or one that differs in this: ``weight`` is
    ``kernel``, ``scale`` or ``embedding``, ``running_mean`` is ``mean``, ``running_var`` is
    ``var``; ``0`` is ``layers/0`` (a Sequential) and ``layers/0`` is ``layers_0`` (Linen); a
    wrapper's prefix (of up to 8 wrappers) or the ``value`` of Flax NNX is left out.
    """
    return next((path for path in _candidates(slashed(name)) if path in paths), None)


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


def slashed(name: str) -> str:
    """A name as a path."""
    return name.replace(".", "/").strip("/")


def array_leaves(tree: Any, changed: Mapping[str, Any] | None = None) -> Any:
    """The leaves that are numbers by their paths; given some by path, the tree with them.

    A tuple of trees, as parameters and model state, is one tree. Random keys are no numbers, nor
    are the functions that an Equinox module has among its leaves.

    Raises:
        ValueError: two leaves have one path.
    """
    with_paths, treedef = jax.tree_util.tree_flatten_with_path(tree)
    found, leaves = {}, []
    for path, leaf in with_paths:
        several = type(tree) is tuple and isinstance(path[0], SequenceKey)
        name = path_name(path[1:] if several else path)
        if not _is_number(leaf):
            leaves.append(leaf)
            continue
        if name in found:
            raise ValueError(f"two leaves have the path {name!r}; give the trees one by one")
        found[name] = leaf
        leaves.append((changed or {}).get(name, leaf))
    return found if changed is None else treedef.unflatten(leaves)


def random_keys(tree: Any) -> list[str]:
    """The paths of random keys, which are kept whatever a file has for them."""
    several = type(tree) is tuple
    return [
        path_name(path[1:] if several else path)
        for path, leaf in jax.tree_util.tree_flatten_with_path(tree)[0]
        if jnp.issubdtype(getattr(leaf, "dtype", np.dtype(bool)), jax.dtypes.prng_key)
    ]


def _is_number(leaf: Any) -> bool:
    if isinstance(leaf, (int, float, complex)):
        return not isinstance(leaf, bool)
    dtype = getattr(leaf, "dtype", None)
    return dtype is not None and not jnp.issubdtype(dtype, jax.dtypes.prng_key)
