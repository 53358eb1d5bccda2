"""Blocks of K-FAC: a leaf of weights with its bias, paired by paths and shapes."""

from __future__ import annotations

from typing import NamedTuple

import jax

from fnopt.core.select import matches
from fnopt.core.types import PyTree
from fnopt.matrix.choice import Matrices, Seen
from fnopt.matrix.view import MatrixView

TAKES = ("hidden", "head")
"""The kinds of leaves that are layers' weights; an embedding is looked up, not multiplied."""

NAMES = (("kernel", "bias"), ("weight", "bias"), ("weights", "biases"), ("w", "b"), ("W", "b"))
"""Parts of the names of weights, and the parts of their biases' names in the same place."""


class Block(NamedTuple):
    """The weights of a layer, or of several stacked ones, and their bias.

    Attributes:
        weight: the number of the leaf.
        path: its path.
        view: how it is seen.
        bias: the number of the leaf with an element for each output; None if there is none.
    """

    weight: int
    path: str
    view: MatrixView
    bias: int | None

    @property
    def sizes(self) -> tuple[int, int, int]:
        """The number of matrices, the size of the left factor, and that of the right.

        The right one has a row for the bias: its input is always 1.
        """
        stack, rows, columns = self.view.matrix_shape
        return stack, rows, columns + (self.bias is not None)


def blocks_of(matrices: Matrices, tree: PyTree) -> list[Block]:
    """The blocks of a tree, whatever its values.

    A bias is a vector beside the weights, in the same container, with the name that goes with
    theirs (``kernel`` and ``bias``, ``w1`` and ``b1``), or in a tuple or list the only one of the
    right shape beside the only matrix.

    Args:
        matrices: how leaves are seen. A bias that a rule names ``"other"`` is not paired.
        tree: a tree like the parameters.
    """
    seen = matrices.seen(tree)
    shapes = (jax.ShapeDtypeStruct(x.shape, "float32") for x in seen)
    named = [
        any(matches(pattern, x.path, shape) for pattern, _ in matrices.rules)
        for x, shape in zip(seen, shapes, strict=True)
    ]
    return [
        Block(i, x.path, x.view, _bias(x, x.view, seen, named))
        for i, x in enumerate(seen)
        if x.view is not None and x.kind in TAKES
    ]


def _bias(weight: Seen, view: MatrixView, seen: list[Seen], named: list[bool]) -> int | None:
    """The number of the bias of some weights, among leaves that no rule names."""
    axes = sorted((*view.axes("stack"), *view.axes("out")))
    shape = tuple(weight.shape[axis] for axis in axes)
    container, _, name = weight.path.rpartition("/")
    beside = [i for i, x in enumerate(seen) if x.path.rpartition("/")[0] == container]
    fits = [i for i in beside if seen[i].kind == "other" and seen[i].shape == shape]
    fits = [i for i in fits if not named[i]]
    for own, other in NAMES:
        path = f"{container}/{name.replace(own, other)}".lstrip("/")
        if own in name and (found := [i for i in fits if seen[i].path == path]):
            return found[0]
    alone = name.isdigit() and len([i for i in beside if seen[i].kind in TAKES]) == 1
    return fits[0] if alone and len(fits) == 1 else None
