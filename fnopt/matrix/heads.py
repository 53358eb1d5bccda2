"""Largest attention logits: which belong to a leaf, and along which of its axes the heads are."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from fnopt.core.checks import brief
from fnopt.core.paths import path_name
from fnopt.core.types import PyTree

NAME = "max_logits"
"""The extra argument, and the key at which the path of an entry of it is cut off."""


def logits_by_module(logits: PyTree) -> dict[str, Any]:
    """The arrays of a tree by the path of the module they belong to."""
    by_module: dict[str, Any] = {}
    for path, leaf in jax.tree_util.tree_leaves_with_path(logits):
        keys = path_name(path).split("/")
        keys = keys[: keys.index(NAME)] if NAME in keys else keys
        by_module["/".join(key for key in keys if key)] = leaf
    return by_module


def logits_of_leaf(path: str, logits: dict[str, Any]) -> Any:
    """The logits that belong to a leaf: those of the innermost module that it is in."""
    inside = [module for module in logits if not module or f"{path}/".startswith(f"{module}/")]
    if not inside:
        raise ValueError(
            f"qk_clip: no array of {NAME} belongs to {path!r}; its path must begin with that of one"
            f" of {brief(list(logits))}"
        )
    return logits[max(inside, key=len)]


def along_heads(path: str, factor: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    """Factors for (…, heads) as an array that broadcasts to a leaf."""
    if not factor.ndim:
        return factor
    *stack, heads = factor.shape
    own = shape[len(stack) :]
    axis = max(len(own) - 2, 0)
    if shape[: len(stack)] != tuple(stack) or not own or own[axis] % heads:
        raise ValueError(
            f"qk_clip: {path!r} has shape {shape}, which does not fit {NAME} of shape"
            f" {factor.shape}: the first axes must be the same, and the last one but one a multiple"
            " of the number of heads"
        )
    factor = jnp.repeat(factor, own[axis] // heads, axis=-1)
    return jnp.reshape(factor, (*stack, *(1,) * axis, own[axis], *(1,) * (len(own) - axis - 1)))
