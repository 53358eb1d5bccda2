"""How a leaf is seen as matrices: which axes are outputs, which inputs, and which count them."""

from __future__ import annotations

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp

WORDS = ("in", "out", "stack")
"""What an axis may be: inputs of a layer, its outputs, or a number of matrices."""
KINDS = ("hidden", "embedding", "head", "other")
"""What a leaf is: matrices of hidden layers, an embedding, the last layer, or no matrix."""


class MatrixView(NamedTuple):
    """A leaf as a stack of matrices, each of shape (outputs, inputs), as in papers.

    Attributes:
        words: for each axis of the leaf one of ``"in"``, ``"out"`` and ``"stack"``.
        shape: the shape of the leaf.
    """

    words: tuple[str, ...]
    shape: tuple[int, ...]

    def axes(self, word: str) -> tuple[int, ...]:
        """The axes of the leaf that are of one kind."""
        return tuple(axis for axis, own in enumerate(self.words) if own == word)

    def size(self, word: str) -> int:
        """The number of matrices, of rows or of columns: the product over such axes."""
        return math.prod(self.shape[axis] for axis in self.axes(word))

    @property
    def matrix_shape(self) -> tuple[int, int, int]:
        """The number of matrices, their rows (outputs) and their columns (inputs)."""
        return self.size("stack"), self.size("out"), self.size("in")

    def matrices(self, leaf: jax.Array) -> jax.Array:
        """An array of the leaf's shape as one of :attr:`matrix_shape`."""
        return jnp.reshape(jnp.transpose(leaf, self._order), self.matrix_shape)

    def leaf(self, matrices: jax.Array) -> jax.Array:
        """An array of :attr:`matrix_shape` as one of the leaf's shape."""
        ordered = jnp.reshape(matrices, tuple(self.shape[axis] for axis in self._order))
        inverse = sorted(range(len(self._order)), key=self._order.__getitem__)
        return jnp.transpose(ordered, inverse)

    @property
    def as_stored(self) -> MatrixView:
        """This view or the transposed one, whichever has the rows before the columns in the leaf.

        Its matrices are made without moving the numbers of a leaf, unless a stack is in between.
        """
        if next((word for word in self.words if word != "stack"), "out") == "out":
            return self
        turned = {"in": "out", "out": "in", "stack": "stack"}
        return self._replace(words=tuple(turned[word] for word in self.words))

    def __str__(self) -> str:
        stack, rows, columns = self.matrix_shape
        matrices = f"{stack} matrices" if stack != 1 else "1 matrix"
        return f"{' × '.join(map(str, self.shape))} → {matrices} of {rows} × {columns}"

    @property
    def _order(self) -> tuple[int, ...]:
        return (*self.axes("stack"), *self.axes("out"), *self.axes("in"))


class Seen(NamedTuple):
    """How one leaf is seen.

    Attributes:
        path: its path.
        shape: its shape.
        kind: ``"hidden"``, ``"embedding"``, ``"head"`` or ``"other"``.
        view: its axes; None for one that is no matrix.
        why: what decided it: ``"rule"``, ``"program"`` (that of the model), ``"name"``, ``"bias"``
            (the shape of the bias beside it, or beside others of its name), ``"shape"`` or
            ``"guess"``.
    """

    path: str
    shape: tuple[int, ...]
    kind: str
    view: MatrixView | None
    why: str

    @property
    def how(self) -> str:
        """The words of a rule that says the same."""
        if self.view is None:
            return self.kind
        words = " ".join(self.view.words)
        return words if self.kind == "hidden" else f"{self.kind} {words}"
