"""The balls that steepest directions are taken from: a norm and a radius for each leaf."""

from __future__ import annotations

import math
from typing import Annotated, Any, NamedTuple

import jax
import jax.numpy as jnp

from fnopt.core import divide, norm
from fnopt.core.fields import Field
from fnopt.core.types import Numeric
from fnopt.matrix.choice import Seen
from fnopt.matrix.view import MatrixView

Norm = Annotated[Any, Field(static=True, choices=("spectral", "column", "row", "largest", "sign"))]
"""A norm of matrices; see :class:`fnopt.scale_by_scion`."""


class Ball(NamedTuple):
    """A leaf as matrices, and the ball that its update is taken from.

    Attributes:
        view: how the leaf is seen.
        norm: the norm of the ball.
        radius: the field that has its radius.
        positions: the number of positions of a convolution's kernel, otherwise 1.
    """

    view: MatrixView
    norm: str
    radius: str
    positions: int

    @property
    def words(self) -> Any:
        """What leaves that are treated alike have in common."""
        return self.view.words, self.norm, self.radius, self.positions

    def matrices(self, leaf: jax.Array) -> jax.Array:
        return self.view.matrices(leaf)

    def leaf(self, matrices: jax.Array) -> jax.Array:
        return self.view.leaf(matrices)


def vector_ball(shape: tuple[int, ...]) -> Ball:
    """The ball of a leaf that is no matrix, which is seen as a matrix with one column."""
    return Ball(MatrixView(("out",) * len(shape), shape), "column", "radius", 1)


def kernel_positions(seen: Seen) -> int:
    """The number of positions of a convolution's kernel; 1 of what is none."""
    view, layer = seen.view, seen.path.lower().split("/")[-2:-1]
    inputs = view.axes("in") if view else ()
    if not view or len(inputs) < 2 or not layer or "conv" not in layer[0]:
        return 1
    (out,) = view.axes("out")
    channels = next(axis for axis in (out - 1, out + 1) if axis in inputs)
    return view.size("in") // seen.shape[channels]


def steepest(x: jax.Array, norm_name: str, eps: Numeric) -> jax.Array:
    """The steepest direction of length 1, by any norm but the spectral.

    Args:
        x: matrices, an array of shape (number, outputs, inputs).
        norm_name: a :data:`Norm`.
        eps: added to norms that are divided by.
    """
    _, m, n = x.shape
    if norm_name == "column":
        return divide(x, norm(x, axis=-2, keepdims=True) / math.sqrt(max(m, 1)), eps=eps)
    if norm_name == "row":
        return divide(x, norm(x, axis=-1, keepdims=True) * math.sqrt(n), eps=eps)
    return jnp.sign(x) / (n if norm_name == "sign" else 1)
