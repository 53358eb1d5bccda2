"""Rows of matrices as lengths and vectors of any norm, as in weight normalization."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from fnopt.core import divide, norm
from fnopt.core.types import Numeric


class Split(NamedTuple):
    """The rows of matrices, and the gradients of their parts.

    Attributes:
        length: the lengths of rows, an array of shape (number, rows).
        unit: the rows divided by them; 0 where a row is 0.
        length_grad: the gradients of lengths.
        grad: the gradients of vectors along the rows.
    """

    length: jax.Array
    unit: jax.Array
    length_grad: jax.Array
    grad: jax.Array


def split(grad: jax.Array, slots: Any, param: jax.Array) -> Split:
    """The parts of matrices, with ``slots.norms`` for the norms of the vectors along rows."""
    length = norm(param, axis=-1)
    unit = divide(param, length[..., None])
    along = _inner(unit, grad)
    across = divide(length, slots.norms)[..., None] * (grad - along[..., None] * unit)
    return Split(length, unit, along, across)


def recomposed(
    x: Split, norms: jax.Array, move: jax.Array, length_move: jax.Array, step_size: Numeric
) -> tuple[jax.Array, jax.Array]:
    """The directions of matrices whose parts move, and the next norms of the vectors along rows.

    Args:
        x: the parts.
        norms: the norms of the vectors.
        move: the directions of the vectors.
        length_move: the directions of the lengths.
        step_size: the step along both.
    """
    after = x.unit * norms[..., None] - step_size * move
    new_norms = norm(after, axis=-1)
    # (norms - new_norms) / step_size, from the difference of their squares.
    along = 2 * norms * _inner(x.unit, move) - step_size * _inner(move, move)
    shrunk = divide(along, norms + new_norms)[..., None]
    turned = divide(move - shrunk * x.unit, new_norms[..., None])
    unit = divide(after, new_norms[..., None])
    return x.length[..., None] * turned + length_move[..., None] * unit, new_norms


def _inner(x: jax.Array, y: jax.Array) -> jax.Array:
    """The inner products of rows, as real vectors."""
    return jnp.sum((x.conj() * y).real, axis=-1)
