"""Coefficients of the Newton-Schulz iteration, by name."""

from __future__ import annotations

from typing import Annotated, Any

import jax.numpy as jnp
import numpy as np

from fnopt.core.checks import did_you_mean
from fnopt.core.fields import Field, as_numbers

JORDAN = ((3.4445, -4.7750, 2.0315),)
"""Jordan et al., *Muon*, 2024: one row for all iterations. It does not converge: it brings all but
the smallest singular values between 0.7 and 1.2, fast."""

DION = (
    (4.0848, -6.8946, 2.9270),
    (3.9505, -6.3029, 2.6377),
    (3.7418, -5.5913, 2.3037),
    (2.8769, -3.1427, 1.2046),
    (2.8366, -3.0525, 1.2012),
)
"""Those of the program of Ahn et al., *Dion*, 2025, arXiv:2504.05295."""

BY_NAME: dict[str, tuple[tuple[float, ...], ...]] = {
    "jordan": JORDAN,
    "standard": JORDAN,
    "dion": DION,
}


def as_coefficients(value: Any) -> Any:
    """Rows of three numbers, of a name, of three numbers, or of rows."""
    if isinstance(value, str):
        if value not in BY_NAME:
            raise ValueError(f"{value!r} is no name; {did_you_mean(value, BY_NAME)}")
        return BY_NAME[value]
    if hasattr(value, "ndim"):
        if value.ndim not in (1, 2) or value.shape[-1] != 3:
            raise ValueError(f"must have shape (3,) or (n, 3), got {value.shape}")
        return value
    rows = tuple(value)
    rows = rows if rows and np.ndim(rows[0]) else (rows,)
    if not all(len(row) == 3 for row in rows):
        raise ValueError(f"must be three numbers, rows of three, or one of {list(BY_NAME)}")
    return tuple(map(as_numbers, rows))


def rows_for(coefficients: Any, steps: int) -> Any:
    """A row of coefficients for each of ``steps`` iterations; the last rows given, as in optax.

    Raises:
        ValueError: there is more than one row, but fewer than steps.
    """
    rows = jnp.atleast_2d(jnp.stack([jnp.stack(jnp.asarray(r)) for r in coefficients]))
    if len(rows) == 1:
        return jnp.tile(rows, (steps, 1))
    if len(rows) < steps:
        raise ValueError(
            f"ns_steps must be at most {len(rows)}, the rows of ns_coeffs, got {steps}"
        )
    return rows[len(rows) - steps :]


Coefficients = Annotated[
    Any, Field(convert=as_coefficients, shown="str | Sequence[float] | Sequence[Sequence[float]]")
]
"""Coefficients of the Newton-Schulz iteration: a name, three numbers, or rows of three."""
