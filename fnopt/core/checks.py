"""Errors for bad input: they name argument, value, range and cure, or the path of the leaf."""

from __future__ import annotations

import dataclasses
import difflib
import operator
import reprlib
from collections.abc import Iterable, Mapping
from typing import Any, NoReturn

import jax
import jax.numpy as jnp

from fnopt.core.types import OptState, Params, PyTree, Updates


@dataclasses.dataclass(frozen=True)
class Interval:
    """A range of numbers, written as in mathematics: ``"[0, 1)"``, ``"(0, inf]"``."""

    text: str

    def __contains__(self, value: float) -> bool:
        low, high = self.ends
        above = value >= low if self.text[0] == "[" else value > low
        below = value <= high if self.text[-1] == "]" else value < high
        return above and below  # NaN is neither

    @property
    def ends(self) -> tuple[float, float]:
        """The lower and the upper end."""
        low, high = map(float, self.text[1:-1].split(","))
        return low, high

    def __str__(self) -> str:
        return self.text


def brief(value: Any, most: int = 80) -> str:
    """A value on one line for an error, at most so many characters, without printing all of it."""
    short = reprlib.Repr()
    short.maxother = short.maxstring = most
    text = " ".join(short.repr(value).split())
    return text if len(text) <= most else text[: most - 1] + "…"


def nearest(name: str, known: Iterable[str], cutoff: float = 0.6) -> str | None:
    """The known name that is most like an unknown one, whatever the case; None if none is.

    Args:
        name: the unknown name.
        known: the names that there are.
        cutoff: likeness that is asked for, in [0, 1].
    """
    lowered = {item.lower(): item for item in sorted(known)}
    near = difflib.get_close_matches(name.lower(), lowered, n=1, cutoff=cutoff)
    return lowered[near[0]] if near else None


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """What to add to the refusal of an unknown name: the nearest ones, then all of them."""
    known = sorted(known)
    near = nearest(name, known)
    return (f"did you mean {near!r}? " if near else "") + "known: " + ", ".join(known)


def one_of(argument: str, value: Any, choices: tuple[Any, ...]) -> None:
    """Raises ValueError if a value is none of the choices."""
    if value not in choices:
        raise ValueError(f"{argument} must be one of {choices}, got {brief(value, 40)}")


def positive_integer(argument: str, value: Any) -> int:
    """An integer of any kind, at least 1; raises TypeError or ValueError naming the argument."""
    return integer(argument, value, least=1)


def integer(argument: str, value: Any, *, least: int | None = None) -> int:
    """An integer of any kind as a Python int.

    Args:
        argument: the argument's name, for the error.
        value: an integer of Python, NumPy or JAX.
        least: the smallest integer accepted; None for any.

    Raises:
        TypeError: it is no integer.
        ValueError: it is below ``least``.
    """
    try:
        number = operator.index(value)
    except TypeError:
        number = None
    if number is None or isinstance(value, bool):
        raise TypeError(
            f"{argument} must be an integer, got {brief(value, 40)} ({type(value).__name__})"
        )
    if least is not None and number < least:
        raise ValueError(f"{argument} must be at least {least}, got {value!r}")
    return number


def float_leaves(what: str, tree: PyTree) -> tuple[list[str], list[jax.Array], Any]:
    """Paths, leaves (as arrays) and structure of a tree in which every leaf must be floating.

    Raises:
        TypeError: a leaf is not floating or complex; names its path.
    """
    with_paths, treedef = jax.tree_util.tree_flatten_with_path(tree)
    paths, leaves = [], []
    for path, leaf in with_paths:
        name = what + jax.tree_util.keystr(path)
        if not isinstance(leaf, (jax.Array, float, complex)) and not hasattr(leaf, "dtype"):
            raise TypeError(
                f"{name} is {brief(leaf)} ({type(leaf).__name__}); only floating-point arrays can"
                " be optimized. Leave it out of the tree, or freeze it with optax.masked."
            )
        leaf = jnp.asarray(leaf)
        if not jnp.issubdtype(leaf.dtype, jnp.inexact):
            raise TypeError(
                f"{name} has dtype {leaf.dtype}; only floating-point arrays can be optimized."
                " Keep it out of the parameters, or freeze it with optax.masked."
            )
        paths.append(name)
        leaves.append(leaf)
    return paths, leaves, treedef


def leaves_like(treedef: Any, what: str, tree: PyTree, like: str, cure: str = "") -> list[Any]:
    """The leaves of ``tree`` in the order of ``treedef``; a node may stand for one of its leaves.

    Args:
        treedef: the structure of another tree.
        what: the name of ``tree``, for the error.
        tree: the tree.
        like: the name of the other tree.
        cure: what to do, for the error; none if empty.

    Raises:
        ValueError: the structures differ; names the paths that do.
    """
    try:
        return treedef.flatten_up_to(tree)
    except (ValueError, TypeError):
        ours = jax.tree.unflatten(treedef, [0] * treedef.num_leaves)
        difference = _difference(ours, tree, like, what)
        raise ValueError(
            f"{what} and {like} differ in structure: {difference}{cure and '; '}{cure}"
        ) from None


def _difference(a: Any, b: Any, name_a: str, name_b: str) -> str:
    def paths(tree: PyTree) -> list[str]:
        leaves = jax.tree_util.tree_leaves_with_path(tree)
        return [jax.tree_util.keystr(path) or "(the whole)" for path, _ in leaves]

    in_a, in_b = paths(a), paths(b)
    only_a = [path for path in in_a if path not in set(in_b)]
    only_b = [path for path in in_b if path not in set(in_a)]
    lines = []
    for name, only in ((name_a, only_a), (name_b, only_b)):
        if only:
            more = f" and {len(only) - 3} more" if len(only) > 3 else ""
            lines.append(f"only {name} has {', '.join(only[:3])}{more}")
    return (
        "; ".join(lines)
        or f"the same leaves, but in {jax.tree.structure(a)} and {jax.tree.structure(b)}"
    )


def same_shape(path: str, shape: tuple[int, ...], expected: tuple[int, ...], like: str) -> None:
    """Raises ValueError, naming the path, where a leaf does not have the shape it must have."""
    if shape != expected:
        raise ValueError(f"{path} has shape {shape}, but its {like} has shape {expected}")


def same_kind(path: str, new: Any, old: Any, like: str) -> None:
    """Raises TypeError, naming the path, where one real or floating dtype must be another's."""
    new, old = jnp.result_type(new), jnp.result_type(old)
    if jnp.issubdtype(new, jnp.complexfloating) and not jnp.issubdtype(old, jnp.complexfloating):
        raise TypeError(
            f"{path} is complex ({new}), but its {like} is real ({old}); take its .real"
        )
    if jnp.issubdtype(old, jnp.inexact) and not jnp.issubdtype(new, jnp.inexact):
        raise TypeError(
            f"{path} has dtype {new}, but its {like} is floating ({old}); convert it with .astype"
        )


def same_names(what: str, new: Any, names: Iterable[str]) -> None:
    """Raises TypeError or ValueError where something is no dict with these names."""
    if not isinstance(new, Mapping):
        raise TypeError(f"{what} must be a dict of {list(names)}, got {new!r:.99}")
    if set(new) != set(names):
        raise ValueError(f"{what} has the names {sorted(new)}; it must have {sorted(names)}")


def updates_of(transform: Any, new: Any, updates: Updates, params: Params) -> Any:
    """The updates that a transform returned, if they are like its input or like the parameters.

    Args:
        transform: the transform, for the error.
        new: the updates that it returned.
        updates: the updates that it received.
        params: the parameters, or None.

    Returns:
        ``new``.

    Raises:
        ValueError: structure or shape is another; names the transform and the path.
        TypeError: real updates have become complex, or floating ones integer.
    """
    what, structure = f"{transform!r:.60}: the update", jax.tree.structure(updates)
    if jax.tree.structure(new) != structure:
        if params is not None and jax.tree.structure(new) == jax.tree.structure(params):
            return new  # pairs of parameters, as optax's lookahead has them
        leaves_like(structure, what, new, "the updates it received")
        return new
    like = [None] * structure.num_leaves
    if params is not None:
        like = leaves_like(structure, "params", params, "updates")
    pairs = zip(jax.tree.leaves(new), jax.tree.leaves(updates), like, strict=True)
    for i, (leaf, old, param) in enumerate(pairs):
        shape, expected = jnp.shape(leaf), jnp.shape(old)
        # What takes gradients of single examples makes one of them.
        reduced = expected[1:] if param is None else jnp.shape(param)
        if shape not in (expected, reduced):
            name = jax.tree_util.keystr(jax.tree_util.tree_leaves_with_path(updates)[i][0])
            same_shape(what + name, shape, expected, "update so far")
        if jnp.result_type(leaf) != jnp.result_type(old):
            name = jax.tree_util.keystr(jax.tree_util.tree_leaves_with_path(updates)[i][0])
            same_kind(what + name, leaf, old, "update so far")
    return new


class ForeignState(ValueError):
    """A state is not one that ``init`` of a transform makes; its caller hears a ValueError."""


def refuse_state(transform: Any, state: OptState) -> NoReturn:
    """Raises :class:`ForeignState`."""
    raise ForeignState(
        f"{type(transform).__name__}: the state is a {type(state).__name__}, not what init of this"
        " transform makes"
    )


_MEANINGS = {
    "value": "the loss at the parameters",
    "grad": "the gradient at the parameters",
    "value_fn": "a function of the parameters giving the loss on this batch",
    "grad_fn": "a function of the parameters giving the gradient on this batch",
    "metric": "the metric of the last evaluation",
    "key": "a random key for this step",
    "max_logits": "the largest attention logit of each head",
}


def required(transform: Any, name: str, value: Any) -> Any:
    """The value of an extra argument that a transform cannot do without.

    Args:
        transform: the transform, for the error.
        name: the argument's name.
        value: its value, or None if it was not passed.

    Raises:
        ValueError: it is None.
    """
    if value is None:
        raise ValueError(
            f"{type(transform).__name__} needs {_MEANINGS[name]}: call update(…, {name}=…)"
        )
    return value


def updates_and_params(transform: Any, updates: Updates, params: Params) -> tuple[Updates, Params]:
    """Updates and parameters as trees of arrays, checked; for a transform that needs both.

    Args:
        transform: the transform that received them, for errors.
        updates: the updates.
        params: the parameters.

    Raises:
        ValueError: there are no parameters, or structures or shapes differ; names the path.
        TypeError: an update is not floating.
    """
    if params is None:
        name = type(transform).__name__
        raise ValueError(f"{name} needs the parameters: call update(updates, state, params)")
    paths, leaves, treedef = float_leaves("updates", updates)
    starts = [jnp.asarray(p) for p in leaves_like(treedef, "params", params, "updates")]
    for path, leaf, start in zip(paths, leaves, starts, strict=True):
        same_shape(path, leaf.shape, start.shape, "parameter")
    return treedef.unflatten(leaves), treedef.unflatten(starts)
