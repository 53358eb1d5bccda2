"""Data in memory: its size, the order of an epoch, batches."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np


def size(data: Any) -> int:
    """The number of examples in a tree of arrays with examples along the first axis.

    Raises:
        ValueError: there are none, or the arrays disagree; names the paths.
    """
    leaves = jax.tree_util.tree_flatten_with_path(data)[0]
    sizes = {jax.tree_util.keystr(path): np.shape(leaf)[:1] for path, leaf in leaves}
    if len(set(sizes.values())) != 1 or () in sizes.values() or (0,) in sizes.values():
        told = ", ".join(
            f"data{path}: {shape[0] if shape else 'no axis'}" for path, shape in sizes.items()
        )
        raise ValueError(
            "all arrays of the data must have the same number of examples, above 0; got"
            f" {told or 'none'}"
        )
    return next(iter(sizes.values()))[0]


def check_batch_size(batch_size: int | None, examples: int) -> int:
    """The number of examples in a batch; all of them for None.

    Raises:
        ValueError: it is below 1 or above the number of examples.
    """
    if batch_size is None:
        return examples
    if not 1 <= batch_size <= examples:
        raise ValueError(
            f"batch_size must be from 1 to the {examples} examples there are, or None for all of"
            f" them at once; got {batch_size}"
        )
    return batch_size


def epoch_order(key: jax.Array, examples: int, batch_size: int) -> jax.Array:
    """The examples of every step of an epoch: a random permutation, its remainder dropped.

    Returns:
        Indices, of shape (steps, batch_size).
    """
    steps = examples // batch_size
    return jax.random.permutation(key, examples)[: steps * batch_size].reshape(steps, batch_size)


def take(data: Any, indices: jax.Array) -> Any:
    """The examples of these indices, which must be in range."""
    return jax.tree.map(lambda x: x.at[indices].get(mode="promise_in_bounds"), data)


def padded_batches(data: Any, batch_size: int) -> tuple[Any, jax.Array]:
    """All examples in batches, the last one filled up with copies of weight 0.

    Returns:
        The data, its first axis split in (batches, batch_size), and weights of that shape.
    """
    examples = size(data)
    batches = -(-examples // batch_size)
    indices = jnp.arange(batches * batch_size).reshape(batches, batch_size)
    weights = (indices < examples).astype(jnp.float32)
    return take(jax.tree.map(jnp.asarray, data), jnp.minimum(indices, examples - 1)), weights
