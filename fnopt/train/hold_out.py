"""A share of the training data held out for validation."""

from __future__ import annotations

import copy
import numbers
from typing import Any

from fnopt.data.arrays import Arrays, size
from fnopt.data.batches import brings_order, is_stream
from fnopt.data.numbers import host
from fnopt.data.split import split

KEY = 0
"""Key of the draw. It is not the run's, so that all runs validate on the same examples."""


def hold_out(data: Any, share: Any, batch_size: Any) -> tuple[Any, Any]:
    """The data to train on, and those held out, as ``split(data, share, key=0)`` draws them.

    Weights, augmentation and order of an ``Arrays`` stay with the first part.

    Args:
        data: a tree of arrays with examples along the first axis, or an ``fnopt.data.Arrays``.
        share: share of the examples to hold out, in (0, 1).
        batch_size: examples of a training step, of which there must be enough.

    Raises:
        TypeError: the share is no number.
        ValueError: the share is out of its range, the data are no arrays in memory, or too few.
    """
    if not isinstance(share, numbers.Real) or isinstance(share, bool):
        raise TypeError(
            f"fit: validation_split must be a share such as 0.1, got {type(share).__name__}"
        )
    if not 0 < (part := float(share)) < 1:
        raise ValueError(
            f"fit: validation_split must lie in (0, 1), such as 0.1, got {share}; None holds out"
            " nothing"
        )
    if is_stream(data) or (brings_order(data) and not isinstance(data, Arrays)):
        raise ValueError(
            "fit: validation_split holds out a share of arrays in memory, and data are"
            f" {type(data).__name__}; give validation_data instead"
        )
    tree, weights = (data.tree, data.weights) if isinstance(data, Arrays) else (data, None)
    tree = host(tree, "data")
    examples = size(tree)
    try:
        (training, weights), (validation, _) = split((tree, weights), part, key=KEY)
    except ValueError as error:
        raise ValueError(
            f"fit: validation_split={share} of {examples} examples leaves a part empty; give more"
            " data, or validation_data"
        ) from error
    left = size(training)
    if isinstance(batch_size, numbers.Integral) and left < int(batch_size) <= examples:
        raise ValueError(
            f"fit: validation_split={share} leaves {left} of {examples} examples to train on, fewer"
            f" than batch_size={batch_size}; hold out fewer, or take a smaller batch_size"
        )
    if not isinstance(data, Arrays):
        return training, validation
    kept = copy.copy(data)
    kept.tree, kept.weights = training, weights
    return kept, validation
