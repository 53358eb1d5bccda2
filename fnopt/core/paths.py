"""Paths of leaves as text."""

from __future__ import annotations

from typing import Any, TypeAlias

import jax
from jax.tree_util import GetAttrKey

KeyPath: TypeAlias = tuple[Any, ...]
"""The keys that lead to a leaf, as ``jax.tree_util.tree_leaves_with_path`` gives them."""


def path_name(path: KeyPath) -> str:
    """A path as ``layers/0/kernel``, without the ``value`` of Flax NNX's variables."""
    if len(path) > 1 and path[-1] == GetAttrKey("value"):
        path = path[:-1]
    return jax.tree_util.keystr(path, simple=True, separator="/")
