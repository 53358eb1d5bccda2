"""Matrices cut into blocks of one size, for which preconditioners are smaller."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp


class Blocks(NamedTuple):
    """How matrices of one shape are cut into blocks.

    A side is cut into as few equal parts as a limit allows; where they do not divide it, the last
    ones are filled with zeros.

    Attributes:
        shape: rows and columns of a matrix.
        parts: into how many parts each side is cut.
    """

    shape: tuple[int, int]
    parts: tuple[int, int]

    @classmethod
    def at_most(cls, shape: tuple[int, int], limits: tuple[int | None, int | None]) -> Blocks:
        """Blocks whose sides are at most so long.

        Args:
            shape: rows and columns of a matrix.
            limits: of the rows and the columns of a block; None for all of them.
        """
        parts = [-(-n // most) if most else 1 for n, most in zip(shape, limits, strict=True)]
        return cls(shape, (parts[0], parts[1]))

    @property
    def block(self) -> tuple[int, int]:
        """Rows and columns of a block."""
        rows, columns = (-(-n // parts) for n, parts in zip(self.shape, self.parts, strict=True))
        return rows, columns

    def cut(self, matrices: jax.Array) -> jax.Array:
        """Matrices as blocks: (number, rows, columns) as (number times blocks, rows, columns)."""
        if self.parts == (1, 1):
            return matrices
        (down, across), (rows, columns) = self.parts, self.block
        lacking = (down * rows - self.shape[0], across * columns - self.shape[1])
        if any(lacking):
            matrices = jnp.pad(matrices, ((0, 0), *((0, n) for n in lacking)))
        blocks = matrices.reshape(-1, down, rows, across, columns)
        return blocks.swapaxes(2, 3).reshape(-1, rows, columns)

    def join(self, blocks: jax.Array) -> jax.Array:
        """The matrices of which these are the blocks."""
        if self.parts == (1, 1):
            return blocks
        (down, across), (rows, columns) = self.parts, self.block
        matrices = blocks.reshape(-1, down, across, rows, columns).swapaxes(2, 3)
        matrices = matrices.reshape(-1, down * rows, across * columns)
        return matrices[:, : self.shape[0], : self.shape[1]]


def layout(
    shape: tuple[int, ...], block_size: int | None, max_dim: int | None, one_sided: bool
) -> tuple[Blocks, tuple[bool, bool]]:
    """The blocks of matrices of a shape, and which of their sides are preconditioned.

    Args:
        shape: rows and columns of a matrix.
        block_size: longest side of a block; None for no blocks.
        max_dim: longest side that is preconditioned; None for any.
        one_sided: whether only the shorter side is, the rows of a square.
    """
    rows, columns = shape
    left, right = (max_dim is None or n <= max_dim for n in shape)
    if one_sided:
        left, right = left and rows <= columns, right and columns < rows
    limits = (block_size if left else None, block_size if right else None)
    return Blocks.at_most((rows, columns), limits), (left, right)
