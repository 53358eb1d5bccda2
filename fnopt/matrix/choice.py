"""Which leaves are matrices, and how: by rules for paths, by names and shapes."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable
from typing import Annotated, Any, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import optax.contrib

from fnopt.core.checks import brief
from fnopt.core.fields import Field
from fnopt.core.paths import path_name
from fnopt.core.select import Labels, Pattern, as_labels, matches, nearest, show
from fnopt.core.types import Params, PyTree
from fnopt.core.warn import warn_caller
from fnopt.matrix.view import WORDS, MatrixView

MuonDimensionNumbers = optax.contrib.MuonDimensionNumbers

KINDS = ("hidden", "embedding", "head", "other")
"""What a leaf is: matrices of hidden layers, an embedding, the last layer, or no matrix."""

How: TypeAlias = str
"""Words for the axes of a leaf, as ``"stack in out"``, with a kind before them or alone."""


class Seen(NamedTuple):
    """How one leaf is seen.

    Attributes:
        path: its path.
        shape: its shape.
        kind: one of :data:`KINDS`.
        view: its axes; None for one that is no matrix.
        why: what decided it: ``"rule"``, ``"name"``, ``"shape"`` or ``"guess"``.
    """

    path: str
    shape: tuple[int, ...]
    kind: str
    view: MatrixView | None
    why: str


@dataclasses.dataclass(frozen=True)
class Matrices:
    """Which leaves of a tree are matrices, and how; a hashable value.

    Attributes:
        rules: pairs of a pattern of paths and how such a leaf is seen; the first that matches wins.
            What none matches is decided by name and shape.
        axes: optax's dimension numbers for all leaves, instead of rules.
    """

    rules: tuple[tuple[Pattern, How], ...] = ()
    axes: Labels | None = None

    def seen(self, tree: PyTree) -> list[Seen]:
        """How every leaf of a tree is seen.

        Raises:
            ValueError: the words of a rule are not one for each axis of a leaf that it matches.
        """
        with_paths, _ = jax.tree_util.tree_flatten_with_path(tree)
        if self.axes is not None:
            numbers = _numbers(self.axes, tree)
            return [
                _by_numbers(path_name(path), jnp.shape(leaf), own)
                for (path, leaf), own in zip(with_paths, numbers, strict=True)
            ]
        return [self._see(path_name(path), leaf) for path, leaf in with_paths]

    def unmatched(self, params: Params) -> list[Pattern]:
        """The patterns of rules that match no leaf."""
        with_paths, _ = jax.tree_util.tree_flatten_with_path(params)
        named = [(path_name(path), leaf) for path, leaf in with_paths]
        return [p for p, _ in self.rules if not any(matches(p, *own) for own in named)]

    def _see(self, path: str, leaf: Any) -> Seen:
        shape = jnp.shape(leaf)
        for pattern, how in self.rules:
            if matches(pattern, path, leaf):
                return _by_rule(path, shape, how)
        return by_name_and_shape(path, shape)

    def __repr__(self) -> str:
        return repr(self.axes) if self.axes is not None else repr(self.rules)


def by_name_and_shape(path: str, shape: tuple[int, ...]) -> Seen:
    """How a leaf is seen that no rule speaks of.

    Args:
        path: its path, as ``blocks/0/attention/query/kernel``.
        shape: its shape.
    """
    parts = path.lower().split("/")
    if len(shape) < 2 or 0 in shape or _VECTOR.fullmatch(parts[-1]):
        return Seen(path, shape, "other", None, "shape" if len(shape) < 2 else "name")
    words, why = _words(parts, len(shape))
    kind = "hidden"
    if any(_EMBEDDING.search(part) for part in parts):
        kind, words, why = "embedding", _plain(len(shape), ("in", "out")), "name"
    elif any(_HEAD.fullmatch(part) for part in parts):
        kind, why = "head", "name"
    return Seen(path, shape, kind, MatrixView(words, shape), why)


_EMBEDDING = re.compile(r"embed|^w[tp]e$")
_HEAD = re.compile(r"(lm_?|output_?|classification_?)?head|logits|classifier|readout")
_VECTOR = re.compile(r"bias|scale|b|gain")
_STACKED = re.compile(r"(h|blocks?|layers?|stack|scan.*|.*_layers|.*_blocks)")
_HEADS_OUT = {"query", "key", "value", "q", "k", "v", "q_proj", "k_proj", "v_proj"}
_HEADS_IN = {"out", "o", "o_proj", "out_proj"}


def _words(parts: list[str], rank: int) -> tuple[tuple[str, ...], str]:
    """The words for the axes of a matrix, and what decided them."""
    layer = parts[-2] if len(parts) > 1 else ""
    transposed = parts[-1] == "weight"  # of Equinox and torch, outputs first
    if "conv" in layer and rank > 2:
        # A block of a scan has one axis more than a kernel in two dimensions.
        stack = rank > 4 and any(_STACKED.fullmatch(part) for part in parts[:-2])
        inner = _plain(rank - stack, ("out", "in") if transposed else ("in", "out"))
        return ("stack",) * stack + inner, "name"
    if rank == 2:
        named = parts[-1] in ("kernel", "weight")
        return ("out", "in") if transposed else ("in", "out"), "name" if named else "shape"
    pair = ("out", "in") if transposed else ("in", "out")
    heads = layer in _HEADS_OUT or layer in _HEADS_IN
    if heads and parts[-1] == "kernel":
        own = ("in", "out", "out") if layer in _HEADS_OUT else ("in", "in", "out")
        return ("stack",) * (rank - 3) + own, "name"
    if rank == 3 and any(_STACKED.fullmatch(part) for part in parts[:-1]):
        return ("stack", *pair), "name"
    if rank == 3:
        return ("stack", *pair), "guess"
    return _plain(rank, pair), "guess"


def _plain(rank: int, pair: tuple[str, str]) -> tuple[str, ...]:
    """The words for a kernel of a convolution, or a matrix, without a stack."""
    if pair == ("in", "out"):
        return ("in",) * (rank - 1) + ("out",)
    return ("out",) + ("in",) * (rank - 1)


def _by_rule(path: str, shape: tuple[int, ...], how: How) -> Seen:
    words = how.split()
    kind = words.pop(0) if words[0] in KINDS else "hidden"
    if kind == "other" or 0 in shape:
        return Seen(path, shape, "other", None, "rule")
    if not words:
        view = by_name_and_shape(path, shape).view
        return Seen(path, shape, kind if view else "other", view, "rule")
    if len(words) != len(shape):
        raise ValueError(
            f"matrices: {how!r} has {len(words)} words for {path!r}, which has {len(shape)} axes,"
            f" {shape}; give a word for each: in, out or stack"
        )
    return Seen(path, shape, kind, MatrixView(tuple(words), shape), "rule")


def _by_numbers(path: str, shape: tuple[int, ...], numbers: Any) -> Seen:
    if numbers is None or len(shape) < 2 or 0 in shape:
        return Seen(path, shape, "other", None, "rule")
    words = ["stack"] * len(shape)
    for word, axes in zip(("in", "out"), numbers, strict=True):
        for axis in (axes,) if isinstance(axes, int) else axes:
            if not -len(shape) <= axis < len(shape) or words[axis] != "stack":
                raise ValueError(
                    f"{numbers} must name axes of {path!r}, which has shape {shape}, each once"
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
            f"the dimension numbers are no prefix of the parameters: {error}"
        ) from error
    return every


def as_matrices(value: Any) -> Matrices:
    """Rules for paths, or optax's dimension numbers: one for all, a tree, or a function of one."""
    if value is None:
        return Matrices()
    if isinstance(value, Matrices):
        return value
    pairs = value.items() if isinstance(value, dict) else value
    if isinstance(pairs, Iterable) and not isinstance(pairs, (str, MuonDimensionNumbers)):
        pairs = list(pairs)
        if all(isinstance(pair, (tuple, list)) and len(pair) == 2 for pair in pairs) and all(
            isinstance(how, str) for _, how in pairs
        ):
            return Matrices(tuple((_pattern(pattern), _how(how)) for pattern, how in pairs))
    if isinstance(value, str):
        raise TypeError(
            f'must be pairs of a pattern and words, as (("*", "in out"),), got {value!r}'
        )
    return Matrices(axes=as_labels(value, _is_numbers))


def _pattern(pattern: Any) -> Pattern:
    return tuple(pattern) if isinstance(pattern, list) else pattern


def _how(how: str) -> str:
    words = how.split()
    axes = words[1:] if words and words[0] in KINDS else words
    known = all(word in WORDS for word in axes) and (not axes or {"in", "out"} <= set(axes))
    if not words or not known:
        raise ValueError(
            f"must be words for the axes, of which one at least is in and one out, with a kind"
            f" {KINDS} before them or alone, as 'stack in out' or 'embedding', got {brief(how)}"
        )
    return " ".join(words)


MatricesField = Annotated[
    Any,
    Field(convert=as_matrices, static=True, shown="Sequence[tuple[Pattern, str]]"),
]
"""Which leaves are matrices: pairs of a pattern of paths and words for the axes, as
``("blocks/*/kernel", "stack in out")``; by name and shape if None."""


def warn_of_guesses(method: str, seen: list[Seen]) -> None:
    """Warns of leaves whose axes neither a rule nor a name tells."""
    guesses = [x for x in seen if x.why == "guess"]
    if not guesses:
        return
    first = guesses[0]
    assert first.view is not None
    words = " ".join(first.view.words)
    more = f" and {len(guesses) - 1} more" if len(guesses) > 1 else ""
    warn_caller(
        f"{method}: the axes of {first.path!r} {first.shape}{more} were guessed from the shape, as"
        f' "{words}"; give them by matrices=(("{first.path}", "{words}"), …), or "other" for one'
        " that is no matrix"
    )


def check_rules(method: str, matrices: Matrices, params: Params) -> None:
    """Refuses a rule that matches no leaf.

    Raises:
        ValueError: with the pattern and the nearest paths.
    """
    for pattern in matrices.unmatched(params):
        paths = [path_name(p) for p, _ in jax.tree_util.tree_flatten_with_path(params)[0]]
        raise ValueError(
            f"{method}: {show(pattern)!r} in matrices matches no leaf; the nearest paths are"
            f" {', '.join(map(repr, nearest(pattern, paths)))}"
        )
