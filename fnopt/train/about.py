"""Descriptions of a state to save and compare: paths, shapes, dtypes, static fields."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from fnopt.core.types import PyTree
from fnopt.core.value import Value
from fnopt.train.closures import closure, from_difference, holds_function
from fnopt.train.state import VALUES


def by_path(tree: PyTree) -> dict[str, Any]:
    """The leaves by their paths, written with dots: ``params.head.kernel``."""
    leaves = jax.tree_util.tree_flatten_with_path(tree)[0]
    short = {jax.tree_util.keystr(path, simple=True, separator="."): leaf for path, leaf in leaves}
    if len(short) == len(leaves):
        return short
    return {jax.tree_util.keystr(path): leaf for path, leaf in leaves}


def is_key(x: Any) -> bool:
    """Whether this is a typed PRNG key."""
    return jnp.issubdtype(jnp.result_type(x), jax.dtypes.prng_key)


def describe(state: Any) -> dict[str, str]:
    """What must agree at each path: a leaf's shape and dtype, a value's static fields."""
    leaves = {path: f"{np.shape(x)} {x.dtype}" for path, x in by_path(state).items()}
    for name in VALUES:
        _describe_value(getattr(state, name, None), name, leaves)
    return leaves


def differences(saved: dict[str, str], current: dict[str, str]) -> list[str]:
    """A line for each path at which two descriptions differ.

    Values and parameters come first, those at the beginning one of each, then what follows from
    them.

    Args:
        saved: description in a checkpoint, by path.
        current: description of the state of this run, by path.
    """
    causes = (*VALUES, "params", "model_state")
    fields: dict[str, list[str]] = {name: [] for name in causes}
    for path in sorted(saved.keys() | current.keys()):
        a, b = saved.get(path, "missing"), current.get(path, "missing")
        if a != b:
            field = path.split(".")[0]
            a, b = from_difference(a, b)
            fields.setdefault(field, []).append(f"{path}: {a} there, {b} here")
    firsts = [line for name in causes for line in fields[name][:1]]
    return firsts + [line for name in fields for line in fields[name][name in causes :]]


def functions(state: Any) -> dict[str, str]:
    """The name of each function among the values' static fields, with the numbers it closes over.

    Of a transform or a schedule of optax, say, this is all that can be compared: not what its code
    computes, and not what it reads from a module.
    """
    descriptions: dict[str, str] = {}
    for name in VALUES:
        for path, field in _static_fields(getattr(state, name, None), name):
            if holds_function(field):
                descriptions[path] = closure(field)
    return descriptions


def _describe_value(value: Any, path: str, lines: dict[str, str]) -> None:
    """Writes the kind of every value in ``value``, and its static fields, under its path."""
    for kind_path, kind in _kinds(value, path):
        lines[kind_path] = kind
    for field_path, field in _static_fields(value, path):
        lines[field_path] = _name(field)


def _children(value: Any, path: str) -> Iterator[tuple[str, Any]]:
    """The parts of a value or a container, without its static fields."""
    if isinstance(value, Value):
        for name, spec in value._specs.items():
            if not spec.static:
                yield f"{path}.{name}", getattr(value, name)
    elif isinstance(value, (tuple, list)):
        for i, item in enumerate(value):
            yield f"{path}.{i}", item
    elif isinstance(value, dict):
        for name, item in value.items():
            yield f"{path}.{name}", item


def _kinds(value: Any, path: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, Value):
        yield path, type(value).__name__
    for child_path, child in _children(value, path):
        yield from _kinds(child, child_path)


def _static_fields(value: Any, path: str) -> Iterator[tuple[str, Any]]:
    if isinstance(value, Value):
        for name, spec in value._specs.items():
            if spec.static:
                yield f"{path}.{name}", getattr(value, name)
    for child_path, child in _children(value, path):
        yield from _static_fields(child, child_path)


def _name(x: Any) -> str:
    """A name that is the same in every process: a function by its name, not by its address."""
    if isinstance(x, Value):
        fields = ((name, getattr(x, name)) for name in x._fields)
        return f"{type(x).__name__}({', '.join(f'{name}={_name(y)}' for name, y in fields)})"
    if isinstance(x, functools.partial):
        return f"partial({_name(x.func)}, {_name(x.args)}, {_name(x.keywords)})"
    if isinstance(x, dict):
        return f"{{{', '.join(f'{name}: {_name(y)}' for name, y in x.items())}}}"
    if isinstance(x, (tuple, list)):
        return f"{type(x).__name__}({', '.join(map(_name, x))})"
    if dataclasses.is_dataclass(x) and not isinstance(x, type):
        return f"{type(x).__name__}{_name(vars(x))}"
    if callable(x):
        return getattr(x, "__qualname__", type(x).__name__)
    if x is None or isinstance(x, (bool, int, float, complex, str, jax.tree_util.PyTreeDef)):
        return str(x)
    return type(x).__name__
