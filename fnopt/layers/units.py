"""The axes of a product of parameters with data: along which units lie, and what both share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from fnopt.layers.axes import Axes
from fnopt.layers.primitives import LOOKUPS
from fnopt.layers.program import Reference, Step


def units_of(step: Step, weights: Reference, shapes: Sequence[Any]) -> tuple[Axes, Axes]:
    """The axes along which units lie, of the weights and of the product.

    Args:
        step: the product.
        weights: that one of its factors which depends on parameters alone.
        shapes: the shapes of the program's values.
    """

    def rank(at: Reference) -> int:
        return len(shapes[at].shape) if isinstance(at, int) else np.ndim(at.value)

    numbers = step.equation.params["dimension_numbers"]
    if step.name in LOOKUPS:
        rows = numbers.collapsed_slice_dims
        return tuple(x for x in range(rank(weights)) if x not in rows), tuple(numbers.offset_dims)
    if step.name == "conv_general_dilated":
        return (numbers.rhs_spec[0],), (numbers.out_spec[1],)
    contracted, batched = numbers
    side = 0 if weights is step.inputs[0] else 1
    shared = len(batched[0])
    of_weights = [x for x in range(rank(weights)) if x not in contracted[side]]
    # A product has the shared axes first, then those of the left factor, then the right's.
    left = rank(step.inputs[0]) - len(contracted[0])
    own = range(shared, left) if side == 0 else range(left, rank(step.outputs[0]))
    return tuple(of_weights), (*range(shared), *own)


def batch_of(step: Step, weights: Reference) -> Axes:
    """The axes of the weights that a product shares with the data."""
    if step.name != "dot_general":
        return ()
    _, batched = step.equation.params["dimension_numbers"]
    return tuple(batched[0 if weights is step.inputs[0] else 1])
