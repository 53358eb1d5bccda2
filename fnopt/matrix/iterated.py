"""Methods that orthogonalize by the Newton-Schulz iteration: what their fields mean."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, cast

import jax

from fnopt.core.types import Arrays
from fnopt.matrix.coefficients import rows_for
from fnopt.matrix.newton_schulz import orthogonalize

if TYPE_CHECKING:
    from fnopt.core import Transform as Base
else:
    Base = object


class Iterated(Base):
    """A method with the fields ``ns_coeffs``, ``ns_steps``, ``eps`` and ``ns_dtype``; a mixin."""

    if TYPE_CHECKING:  # of subclasses; an annotation would make a field here
        ns_coeffs = ns_steps = eps = ns_dtype = cast(Any, None)

    precision = None  # the iteration needs no more than bfloat16

    def __post_init__(self) -> None:
        super().__post_init__()
        try:
            rows_for(self.ns_coeffs, self.ns_steps)
        except ValueError as error:
            raise ValueError(f"{type(self).__name__}: {error}") from None

    def orthogonalized(
        self, matrices: Sequence[jax.Array], preconditioning: str = "frobenius"
    ) -> Arrays:
        """Matrices with their singular values driven towards 1; see :func:`orthogonalize`."""
        rows = rows_for(self.ns_coeffs, self.ns_steps)
        return orthogonalize(matrices, rows, self.eps, self.ns_dtype, preconditioning)
