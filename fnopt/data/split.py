"""Parts of a data set, such as one to train on and one to test on."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from fnopt.core.types import PyTree
from fnopt.data.arrays import size


def split(
    tree: PyTree, fractions: float | Sequence[float], *, key: Any = 0, stratify: Any = None
) -> tuple[Any, ...]:
    """Splits data into disjoint parts, drawn at random from a key; every example is in one.

    Every class of ``stratify`` is divided in the proportions of ``fractions``, to within one
    example a part, and so are all examples, up to rounding. In a part the examples keep their
    order.

    Args:
        tree: arrays with examples along the first axis.
        fractions: relative sizes of the parts, above 0: ``(0.8, 0.2)`` and ``(4, 1)`` are the same.
            One number in (0, 1) is the share of the second of two parts.
        key: a PRNG key, or an integer to make one.
        stratify: a label for each example, of shape (examples,); None for one class.

    Returns:
        A tree of arrays for each part.

    Raises:
        ValueError: fractions are out of range, a part would be empty, or labels are not one for
            each example.

    Examples:
        >>> labels = np.array([0] * 30 + [1] * 10)
        >>> train, test = split({"label": labels}, 0.2, stratify=labels)
        >>> np.bincount(train["label"]).tolist(), np.bincount(test["label"]).tolist()
        ([24, 8], [6, 2])
    """
    shares = _shares(fractions)
    examples = size(tree)
    labels = np.zeros(examples, np.int8) if stratify is None else np.asarray(stratify)
    if labels.shape != (examples,):
        raise ValueError(
            f"split: stratify must be one label for each of {examples} examples; it has shape"
            f" {labels.shape}"
        )
    parts = _parts(labels, shares, key)
    counts = [int(np.sum(parts == part)) for part in range(len(shares))]
    if not all(counts):
        raise ValueError(
            f"split: fractions={fractions} of {examples} examples are parts of {counts}; none may"
            " be empty"
        )
    chosen = [np.flatnonzero(parts == part) for part in range(len(shares))]
    return tuple(jax.tree.map(operator.itemgetter(indices), tree) for indices in chosen)


def _shares(fractions: float | Sequence[float]) -> np.ndarray:
    if np.ndim(fractions) == 0:
        if not 0 < fractions < 1:  # pyright: ignore[reportOperatorIssue]
            raise ValueError(
                f"split: one number of fractions is the second part's share, in (0, 1); got"
                f" {fractions}"
            )
        fractions = (1 - fractions, fractions)  # pyright: ignore
    shares = np.asarray(fractions, np.float64)
    if shares.size < 2 or not np.all((shares > 0) & (shares < np.inf)):
        raise ValueError(
            f"split: fractions must be two numbers or more in (0, inf); got {fractions}"
        )
    return shares / shares.sum()


def _parts(labels: np.ndarray, shares: np.ndarray, key: Any) -> np.ndarray:
    """The part of each example."""
    if jnp.ndim(key) == 0 and jnp.issubdtype(jnp.result_type(key), jnp.integer):
        key = jax.random.key(key)
    drawn = np.asarray(jax.random.permutation(key, labels.size))
    parts = np.empty(labels.size, np.int32)
    owed = np.zeros(len(shares))  # left by the rounding of the classes before
    for label in np.unique(labels):
        of_class = drawn[labels[drawn] == label]
        ideal = np.round(of_class.size * shares, 9)  # 10 · 0.7 is 7
        counts = np.floor(ideal).astype(int)
        over = of_class.size - counts.sum()
        counts[np.argsort(counts - ideal - owed, kind="stable")[:over]] += 1
        owed += ideal - counts
        parts[of_class] = np.repeat(np.arange(len(shares)), counts)
    return parts
