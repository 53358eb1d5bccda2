"""What the methods in eigenbases share: their slots, and when the bases are refreshed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import jax

from fnopt.core import real_zeros, zeros
from fnopt.core.types import Rows
from fnopt.matrix.eigenbasis import init_sides, refreshed_bases
from fnopt.matrix.rule import MatrixRule


class EigenbasisRule(MatrixRule):
    """Adam's averages, a statistic and a basis of each side of a matrix.

    A subclass has the fields ``precondition_frequency``, ``max_precond_dim``, ``mu_dtype``,
    ``nu_dtype``, ``matrices`` and ``staggered``.
    """

    # Without annotations, so that they are not fields.
    precondition_frequency = max_precond_dim = 1
    mu_dtype = nu_dtype = None
    staggered = True
    family = ""  # a base class, which is not exported

    counts = True
    keeps_zero = True
    like_params: ClassVar[tuple[str, ...]] = ("mu", "nu")

    @property
    def leafwise(self) -> bool:  # pyright: ignore[reportIncompatibleVariableOverride]
        # Whose turn it is depends on the other leaves.
        return not self.staggered or self.precondition_frequency == 1

    def init_matrices(self, param: jax.Array) -> dict[str, Any]:
        return {
            "mu": zeros(param, self.mu_dtype),
            "nu": real_zeros(param, dtype=self.nu_dtype),
            **init_sides(param, self.max_precond_dim),
        }

    def columns(self, slots: Rows) -> list[list[jax.Array]]:
        """The slots of all leaves by name, statistics before bases, in the order of names."""
        names = ("mu", "nu", "left", "right", "left_basis", "right_basis")
        rest = [name for name in slots[0]._fields if name not in names]
        return [[getattr(row, name) for row in slots] for name in (*names, *rest)]

    def refreshed(
        self, rows: Sequence[dict[str, Any]], slots: Rows, t: Any, *, ordered: bool = True
    ) -> list[dict[str, Any]]:
        """The next slots with the next bases; see :func:`refreshed_bases`."""
        every, staggered = self.precondition_frequency, self.staggered
        return refreshed_bases(rows, slots, t, every, staggered=staggered, ordered=ordered)
