"""Data in memory: its size, the order of an epoch, batches."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from fnopt.core.checks import positive_integer
from fnopt.core.entry import entry
from fnopt.core.types import Batch, Numeric, PyTree
from fnopt.data.numbers import host, is_traced


@jax.tree_util.register_pytree_with_keys_class
class Arrays:
    """Data in memory, and how an epoch goes through them.

    A run over a plain tree of arrays is one over ``Arrays(tree)``, to the bit. All draws come from
    the run's key: an epoch's order by the step at which the epoch begins, so that a run which
    resumes in the middle of it draws the same, and what a step's augmentation draws by that step.

    Args:
        tree: arrays with examples along the first axis, such as ``(images, labels)``. They are not
            copied here; a run copies them when it begins.
        shuffle: whether an epoch is a permutation; otherwise it goes through the examples in their
            order, the same each time. The remainder that fills no batch is left out either way.
        augment: ``augment(key, batch) -> batch``, compiled with the step.
        weights: relative frequencies of the examples, one number of at least 0 for each. They are
            then drawn with replacement, and an epoch has as many steps as without. With None
            all are equally frequent.

    Raises:
        ValueError: the arrays differ in their number of examples; weights are not one for each, are
            negative, not finite or all 0, or come with ``shuffle=False``.

    Examples:
        Every image of a batch is mirrored or not, and pushed by up to two pixels:

        >>> def changed(key, image):
        ...     coin, shift = jax.random.split(key)
        ...     image = jnp.where(jax.random.bernoulli(coin), image[:, ::-1], image)
        ...     down, right = jax.random.randint(shift, (2,), 0, 5)
        ...     padded = jnp.pad(image, ((2, 2), (2, 2), (0, 0)))
        ...     return jax.lax.dynamic_slice(padded, (down, right, 0), image.shape)
        >>> def augment(key, batch):
        ...     images, labels = batch
        ...     return jax.vmap(changed)(jax.random.split(key, len(images)), images), labels
        >>> data = Arrays((np.ones((9, 8, 8, 1)), np.arange(9)), augment=augment)
        >>> images, labels = data.batch(jax.random.key(0), 0, jnp.arange(4))
        >>> images.shape, labels.tolist()
        ((4, 8, 8, 1), [0, 1, 2, 3])

        Some examples are drawn more often:

        >>> data = Arrays((np.arange(6.0), np.arange(6)), weights=[0, 0, 1, 0, 0, 2])
        >>> order = data.order(jax.random.key(0), step=0, batch_size=3)
        >>> order.shape, np.unique(order).tolist()
        ((2, 3), [2, 5])
    """

    tree: PyTree
    shuffle: bool
    augment: Callable[[jax.Array, Batch], Batch] | None
    weights: Any

    @entry("Arrays((inputs, targets)), where data are one argument")
    def __init__(
        self,
        tree: PyTree,
        *,
        shuffle: bool = True,
        augment: Callable[[jax.Array, Batch], Batch] | None = None,
        weights: Any = None,
    ) -> None:
        examples = size(tree)
        if weights is not None:
            weights = _checked_weights(weights, examples, shuffle)
        self.tree, self.shuffle, self.augment, self.weights = tree, shuffle, augment, weights

    def order(self, key: jax.Array, step: Numeric, batch_size: int) -> jax.Array:
        """The examples of every step of an epoch.

        Args:
            key: the run's key.
            step: number of the step at which the epoch begins.
            batch_size: number of examples per step, at most as many as there are.

        Returns:
            Indices, of shape (steps, batch_size).
        """
        if not self.shuffle:
            return _in_order(size(self.tree), batch_size)
        if self.weights is None:
            return _permuted(key, step, size(self.tree), batch_size)
        return _drawn(key, step, self.weights, batch_size)

    def batch(self, key: jax.Array, step: Numeric, indices: jax.Array) -> Batch:
        """The examples of these indices, augmented.

        Args:
            key: the run's key.
            step: number of the step, from which the augmentation draws.
            indices: indices of the examples, of shape (batch size,).
        """
        batch = take(self.tree, indices)
        if self.augment is None:
            return batch
        return self.augment(_stream(key, _AUGMENTATION, step), batch)

    def tree_flatten_with_keys(self) -> tuple[Any, Any]:
        name = jax.tree_util.GetAttrKey
        children = (name("tree"), self.tree), (name("weights"), self.weights)
        return children, (self.shuffle, self.augment)

    @classmethod
    def tree_unflatten(cls, static: Any, children: Any) -> Arrays:
        self = object.__new__(cls)  # leaves may be anything: no checks
        self.tree, self.weights = children
        self.shuffle, self.augment = static
        return self

    def __repr__(self) -> str:
        shapes = jax.tree.map(lambda x: f"{np.result_type(x)}{list(np.shape(x))}", self.tree)
        weights = "" if self.weights is None else ", weights=…"
        return f"Arrays({shapes}, shuffle={self.shuffle}, augment={self.augment}{weights})"


# A step's key is folded from the run's by its number alone; these are beyond every such number.
_ORDER, _AUGMENTATION = 2**32 - 1, 2**32 - 2


def _stream(key: jax.Array, name: int, step: Numeric) -> jax.Array:
    return jax.random.fold_in(jax.random.fold_in(key, name), step)


def _checked_weights(weights: Any, examples: int, shuffle: bool) -> np.ndarray:
    if not shuffle:
        raise ValueError("Arrays: weights= are for random draws; leave out shuffle=False")
    weights = np.array(weights, np.float32)
    if weights.shape != (examples,):
        raise ValueError(
            f"Arrays: weights must be one number for each of {examples} examples; they have shape"
            f" {weights.shape}"
        )
    bad = np.flatnonzero(~((weights >= 0) & (weights < np.inf)))
    if bad.size:
        raise ValueError(
            f"Arrays: weights must lie in [0, inf); that of example {bad[0]} is {weights[bad[0]]}"
        )
    if not weights.any():
        raise ValueError("Arrays: weights are all 0; give some example a weight above 0")
    return weights


def size(data: PyTree) -> int:
    """The number of examples in a tree of arrays with examples along the first axis.

    Raises:
        ValueError: there are none, or the arrays disagree; names the paths.
    """
    leaves = jax.tree_util.tree_flatten_with_path(data)[0]
    sizes = {jax.tree_util.keystr(path): np.shape(leaf)[:1] for path, leaf in leaves}
    if len(set(sizes.values())) != 1 or () in sizes.values() or (0,) in sizes.values():
        counts = [
            f"data{path}: {shape[0] if shape else 'a single number'}"
            for path, shape in sizes.items()
        ]
        more = f", and {len(counts) - 4} more" * (len(counts) > 4)
        raise ValueError(
            "all arrays of the data must have the same number of examples, above 0; got"
            f" {', '.join(counts[:4]) or 'none'}{more}"
        )
    return next(iter(sizes.values()))[0]


def check_batch_size(batch_size: int | None, examples: int) -> int:
    """The number of examples in a batch; all of them for None.

    Raises:
        TypeError: it is no integer.
        ValueError: it is below 1 or above the number of examples.
    """
    if batch_size is None:
        return examples
    with contextlib.suppress(ValueError):  # of a number below 1, which is refused below
        batch_size = positive_integer("batch_size", batch_size)
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


# An epoch's order is one program, its key included: called one by one, those of the key take longer
# than the steps of a short epoch.
@functools.partial(jax.jit, static_argnums=(2, 3))
def _permuted(key: jax.Array, step: Numeric, examples: int, batch_size: int) -> jax.Array:
    return epoch_order(_stream(key, _ORDER, step), examples, batch_size)


@functools.partial(jax.jit, static_argnums=(0, 1))
def _in_order(examples: int, batch_size: int) -> jax.Array:
    steps = examples // batch_size
    return jnp.arange(steps * batch_size).reshape(steps, batch_size)


@functools.partial(jax.jit, static_argnums=3)
def _drawn(key: jax.Array, step: Numeric, weights: jax.Array, batch_size: int) -> jax.Array:
    examples = weights.shape[0]
    shape = examples // batch_size, batch_size
    stream = _stream(key, _ORDER, step)
    return jax.random.choice(stream, examples, shape, p=weights / jnp.sum(weights))


def take(data: PyTree, indices: jax.Array) -> Batch:
    """The examples of these indices, which must be in range; copies, not views."""
    return jax.tree.map(lambda x: _take_rows(x, indices), data)


def _take_rows(x: Any, indices: Any) -> jax.Array:
    if isinstance(x, np.ndarray) and not is_traced(indices):
        # By NumPy and at once: jax might read from the memory after it has been written into again.
        return jnp.asarray(x[np.asarray(indices)])
    return jnp.asarray(x).at[indices].get(mode="promise_in_bounds")


def padded_batches(data: PyTree, batch_size: int | None) -> tuple[PyTree, jax.Array]:
    """All examples in batches, the last one filled up with copies of weight 0.

    Args:
        data: arrays with examples along the first axis.
        batch_size: examples at a time, all of them if None; no more than there are.

    Returns:
        The data, its first axis split in (batches, batch_size), and weights of that shape. They
        share no memory with the data.

    Raises:
        TypeError: there is something that is no array of numbers; names the path.
    """
    data = host(data, "data")
    examples = size(data)
    batch_size = min(batch_size or examples, examples)
    batches = -(-examples // batch_size)
    indices = np.arange(batches * batch_size).reshape(batches, batch_size)
    weights = jnp.asarray((indices < examples).astype(np.float32))
    rows = np.minimum(indices, examples - 1)

    def split(x: Any) -> Any:
        if isinstance(x, jax.Array):
            return x.at[jnp.asarray(rows)].get(mode="promise_in_bounds")
        if examples % batch_size:
            x = np.concatenate([x, np.repeat(x[-1:], indices.size - examples, axis=0)])
        return x.reshape(*indices.shape, *x.shape[1:])

    return jax.device_put(jax.tree.map(split, data)), weights
