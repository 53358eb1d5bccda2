"""Shapes of batches: every batch of a stream must have those of the first."""

from __future__ import annotations

import dataclasses
from typing import Any, NamedTuple

import jax

from fnopt.core.types import Batch


class LeafShape(NamedTuple):
    """Shape and dtype of one array of a batch."""

    dtype: str
    shape: tuple[int, ...]

    def __str__(self) -> str:
        return f"{self.shape} {self.dtype}"


@dataclasses.dataclass(frozen=True)
class BatchShapes:
    """Structure, shapes and dtypes of a batch; its string is ``{'x': float32[4, 2]}``, say.

    Attributes:
        structure: the tree without its arrays.
        leaves: shape and dtype of each array.
    """

    structure: Any
    leaves: tuple[LeafShape, ...]

    @classmethod
    def of(cls, batch: Batch) -> BatchShapes:
        """The shapes of a batch of arrays."""
        leaves, structure = jax.tree.flatten(batch)
        return cls(structure, tuple(LeafShape(str(x.dtype), x.shape) for x in leaves))

    def __str__(self) -> str:
        words = [f"{leaf.dtype}{list(leaf.shape)}" for leaf in self.leaves]
        return str(self.structure.unflatten(words)).replace("'", "")

    def differs_in_size(self, first: BatchShapes) -> bool:
        """Whether the number of examples is all that differs from the first batch."""
        return self.structure == first.structure and all(
            mine.dtype == its.dtype
            and mine.shape[1:] == its.shape[1:]
            and len(mine.shape) == len(its.shape)
            for mine, its in zip(self.leaves, first.leaves, strict=True)
        )

    def is_smaller(self, first: BatchShapes) -> bool:
        """Whether it differs from the first batch only in having fewer examples."""
        pairs = zip(self.leaves, first.leaves, strict=False)
        changed = [(mine, its) for mine, its in pairs if mine != its]
        return (
            self.differs_in_size(first)
            and bool(changed)
            and all(mine.shape[0] < its.shape[0] for mine, its in changed)
        )

    def differences(self, first: BatchShapes) -> list[str]:
        """A line for each path at which a batch differs from the first."""
        before, now = first._by_path(), self._by_path()
        lines = [
            f"batch{path}: {before.get(path, 'missing')} before, {now.get(path, 'missing')} now"
            for path in {**before, **now}
            if before.get(path, "missing") != now.get(path, "missing")
        ]
        return lines or [f"{first.structure} before, {self.structure} now"]

    def _by_path(self) -> dict[str, LeafShape | None]:
        tree = self.structure.unflatten(self.leaves)
        leaves = jax.tree_util.tree_flatten_with_path(
            tree, is_leaf=lambda x: x is None or isinstance(x, LeafShape)
        )[0]
        return {jax.tree_util.keystr(path): leaf for path, leaf in leaves}


class ShapeError(ValueError):
    """A batch has other shapes than the first.

    Attributes:
        now: the shapes of the batch.
        first: the shapes of the first batch.
    """

    def __init__(self, message: str, now: BatchShapes, first: BatchShapes) -> None:
        self.now, self.first = now, first
        super().__init__(message)
