"""Which leaves are matrices, and how: by rules for paths, by the model's program, or by names."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, TypeAlias

import jax
import jax.numpy as jnp
import optax.contrib

from fnopt.core.checks import brief, did_you_mean
from fnopt.core.fields import Field
from fnopt.core.packed_trees import is_packed
from fnopt.core.paths import path_name
from fnopt.core.select import Labels, Pattern, as_labels, is_part, matches, nearest, show
from fnopt.core.types import Params, PyTree
from fnopt.core.warn import warn_caller
from fnopt.matrix.names import Names
from fnopt.matrix.view import KINDS, WORDS, MatrixView
from fnopt.matrix.view import Seen as Seen

MuonDimensionNumbers = optax.contrib.MuonDimensionNumbers

How: TypeAlias = str
"""Words for the axes of a leaf, as ``"stack in out"``, with a kind before them or alone."""


@dataclasses.dataclass(frozen=True, repr=False)
class Matrices:
    """Which leaves of a tree are matrices, and how; a hashable value.

    Attributes:
        rules: pairs of a pattern of paths and how such a leaf is seen; the first that matches wins.
            What none matches is decided by :class:`fnopt.matrix.names.Names`.
        leaves: how leaves of these paths and shapes are seen, whatever the rules say.
        axes: optax's dimension numbers for all leaves, instead of rules.
    """

    rules: tuple[tuple[Pattern, How], ...] = ()
    leaves: tuple[Seen, ...] = ()
    axes: Labels | None = None

    def seen(self, tree: PyTree) -> list[Seen]:
        """How every leaf of a tree is seen.

        Raises:
            ValueError: the words of a rule are not one for each axis of a leaf that it matches.
        """
        named = _named(tree)
        shapes = [(path, tuple(jnp.shape(leaf))) for path, leaf in named]
        decided = [self._decided.get(own) for own in shapes]
        known = [x for x in decided if x is not None]
        if len(known) == len(named):
            return known
        if self.axes is not None:
            numbers = _numbers(self.axes, tree)
            rest = [_by_numbers(*own, x) for own, x in zip(shapes, numbers, strict=True)]
        else:
            by_name = Names(shapes).seen()
            rest = [self.by_rule(*own, x) for own, x in zip(named, by_name, strict=True)]
        return [own or other for own, other in zip(decided, rest, strict=True)]

    def settled(self, tree: PyTree) -> Matrices:
        """The same for this tree and its parts, of which a part alone may tell less."""
        seen = tuple(self.seen(tree))
        if all(self._decided.get((x.path, x.shape)) is x for x in seen):
            return self
        return dataclasses.replace(self, leaves=seen)

    @functools.cached_property
    def _decided(self) -> dict[tuple[str, tuple[int, ...]], Seen]:
        return {(x.path, x.shape): x for x in self.leaves}

    def by_rule(self, path: str, leaf: Any, otherwise: Seen) -> Seen:
        """How a leaf is seen by the first rule that matches it, or otherwise."""
        for pattern, how in self.rules:
            if matches(pattern, path, leaf):
                return _by_rule(how, otherwise)
        return otherwise

    def check(self, method: str, params: Params) -> None:
        """Refuses a rule that matches no leaf; in a part of a tree it may match others.

        Raises:
            ValueError: with the pattern and the nearest paths.
        """
        named = _named(params)
        for pattern, _ in () if is_part(params) or not named else self.rules:
            if not any(matches(pattern, *own) for own in named):
                near = nearest(pattern, [path for path, _ in named])
                raise ValueError(
                    f"{method}: the pattern {show(pattern)!r} in matrices matches no leaf; the"
                    f" nearest paths are {', '.join(map(repr, near))}"
                )

    def __repr__(self) -> str:
        if self.axes is not None:
            return repr(self.axes)
        pairs = [
            f"({show(pattern) if callable(pattern) else repr(pattern)}, {how!r})"
            for pattern, how in (*((x.path, x.how) for x in self.leaves), *self.rules)
        ]
        return f"({', '.join(pairs)}{',' * (len(pairs) == 1)})"


def _named(tree: PyTree) -> list[tuple[str, Any]]:
    """Paths and leaves; of a packed tree those that the user knows."""
    if is_packed(tree):
        tree = jax.eval_shape(tree.packing.unpack, tree)
    with_paths, _ = jax.tree_util.tree_flatten_with_path(tree)
    return [(path_name(path), leaf) for path, leaf in with_paths]


def _by_rule(how: How, otherwise: Seen) -> Seen:
    """How a leaf is seen by a rule.

    Args:
        how: what the rule says.
        otherwise: how it were seen without one, for the words of a kind alone.
    """
    path, shape, _, view, _ = otherwise
    kind, words = _parse(how)
    if kind == "other" or 0 in shape:
        return Seen(path, shape, "other", None, "rule")
    if not words:
        if view is None and len(shape) < 2:
            return Seen(path, shape, "other", None, "rule")
        if view is None:
            raise ValueError(
                f"matrices: the rule {how!r} matches {path!r}, whose axes {shape} are not known;"
                f" give words for them, as '{how} in out'"
            )
        return Seen(path, shape, kind, view, "rule")
    if len(words) != len(shape):
        raise ValueError(
            f"matrices: {how!r} has {len(words)} words for {path!r}, which has {len(shape)} axes,"
            f" {shape}; give one for each: in, out or stack"
        )
    return Seen(path, shape, kind, MatrixView(words, shape), "rule")


def _parse(how: How) -> tuple[str, tuple[str, ...]]:
    words = how.split()
    kind = words.pop(0) if words[0] in KINDS else "hidden"
    return kind, tuple(words)


def _by_numbers(path: str, shape: tuple[int, ...], numbers: Any) -> Seen:
    if numbers is None or len(shape) < 2 or 0 in shape:
        return Seen(path, shape, "other", None, "rule")
    words = ["stack"] * len(shape)
    for word, axes in zip(("in", "out"), numbers, strict=True):
        for axis in (axes,) if isinstance(axes, int) else axes:
            if not -len(shape) <= axis < len(shape) or words[axis] != "stack":
                raise ValueError(
                    f"matrices: {numbers} must name axes of {path!r}, which has shape {shape}, each"
                    " once"
                )
            words[axis] = word
    return Seen(path, shape, "hidden", MatrixView(tuple(words), shape), "rule")


def _is_numbers(x: Any) -> bool:
    return x is None or isinstance(x, (MuonDimensionNumbers, optax.MaskedNode))


def _numbers(axes: Labels, tree: PyTree) -> list[Any]:
    """optax's dimension numbers, or None, for every leaf of a tree."""
    every: list[Any] = []
    try:
        jax.tree.map(
            lambda own, sub: every.extend([own] * len(jax.tree.leaves(sub))),
            axes.tree(tree),
            tree,
            is_leaf=_is_numbers,
        )
    except (ValueError, TypeError) as error:
        raise ValueError(
            f"matrices: the dimension numbers are no prefix of the parameters: {error}"
        ) from error
    for own in every:
        if not _is_numbers(own):
            raise TypeError(f"matrices: expected MuonDimensionNumbers or None, got {brief(own)}")
    return every


def as_matrices(value: Any) -> Matrices:
    """Rules for paths, or optax's dimension numbers: one for all, a tree, or a function of one.

    Raises:
        TypeError: it is none of these.
        ValueError: the words of a rule are no words for axes.
    """
    if value is None or isinstance(value, Matrices):
        return value or Matrices()
    pairs = list(value.items()) if isinstance(value, Mapping) else value
    if isinstance(value, str) or _has_words(value):
        if isinstance(pairs, str) or not all(map(_is_pair, pairs)):
            raise TypeError(
                "must be pairs of a pattern of paths and words for the axes, as"
                f' (("blocks/*/kernel", "stack in out"),), got {brief(value)}'
            )
        return Matrices(tuple((_pattern(pattern), _how(how)) for pattern, how in pairs))
    if pairs == () or pairs == []:
        return Matrices()
    axes = as_labels(value, _is_numbers)
    if not callable(axes.choice):
        axes = dataclasses.replace(axes, choice=tuple(map(_hashable, axes.choice)))
    return Matrices(axes=axes)


def _hashable(numbers: Any) -> Any:
    """Dimension numbers with tuples of axes for lists."""
    if not isinstance(numbers, MuonDimensionNumbers):
        return numbers
    return MuonDimensionNumbers(*(x if isinstance(x, int) else tuple(x) for x in numbers))


def _has_words(value: Any) -> bool:
    """Whether this is meant as rules; dimension numbers have no words in them."""
    if isinstance(value, MuonDimensionNumbers) or not isinstance(value, Iterable):
        return False
    values = value.values() if isinstance(value, Mapping) else value
    return any(isinstance(leaf, str) for leaf in jax.tree.leaves(list(values)))


def _is_pair(pair: Any) -> bool:
    return isinstance(pair, (tuple, list)) and len(pair) == 2 and isinstance(pair[1], str)


def _pattern(pattern: Any) -> Pattern:
    globs = pattern if isinstance(pattern, (tuple, list)) else (pattern,)
    function = callable(pattern)
    if not function and not all(isinstance(glob, str) for glob in globs):
        raise TypeError(
            "a pattern is a glob of paths, a tuple of globs, or a function of path and leaf, got"
            f" {brief(pattern)}"
        )
    return tuple(pattern) if isinstance(pattern, list) else pattern


def _how(how: str) -> str:
    known = (*KINDS, *WORDS)
    for word in how.split():
        if word not in known:
            raise ValueError(f"{how!r} has the word {word!r}; {did_you_mean(word, known)}")
    kind, words = _parse(how) if how.split() else ("", ())
    axes = all(word in WORDS for word in words) and (not words or {"in", "out"} <= set(words))
    if not kind or not axes or (words and kind == "other"):
        raise ValueError(
            "must be words for the axes, of which one at least is in and one out, with a kind"
            f" {KINDS} before them or alone, as 'stack in out' or 'embedding', got {how!r}"
        )
    return " ".join(how.split())


MatricesField = Annotated[
    Any,
    Field(convert=as_matrices, static=True, shown="Sequence[tuple[Pattern, str]]"),
]
"""Which leaves are matrices: pairs of a pattern of paths and words for the axes, as
``("blocks/*/kernel", "stack in out")``; by name and shape if None."""


def warn_of_guesses(method: str, seen: list[Seen]) -> None:
    """Warns of leaves whose axes nothing tells, neither a rule nor a name nor a bias."""
    guesses = [x for x in seen if x.why == "guess"]
    if not guesses:
        return
    first = guesses[0]
    more = f" and {len(guesses) - 1} more" if len(guesses) > 1 else ""
    warn_caller(
        f"{method}: how the axes of {first.path!r} {first.shape}{more} lie was guessed:"
        f' "{first.how}". Say it by matrices=(("{first.path}", "{first.how}"), …), or "other" for'
        " what is no matrix; matrices_of(loss, params, batch) reads it off the model"
    )
