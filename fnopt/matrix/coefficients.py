"""Coefficients of the Newton-Schulz iteration, by name."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Annotated, Any, TypeAlias

import numpy as np

from fnopt.core.checks import brief, did_you_mean
from fnopt.core.fields import Field, as_numbers

Row: TypeAlias = tuple[float, ...]
"""The coefficients of an odd polynomial of degree 5, a x + b x³ + c x⁵."""
Table: TypeAlias = tuple[Row, ...]
"""A row for each iteration."""

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


def value(row: Row, x: Any) -> Any:
    """The polynomial at x."""
    a, b, c = row
    return x * (a + x * x * (b + x * x * c))


def shrunk(row: Row, by: float) -> Row:
    """The coefficients of p(x / by)."""
    a, b, c = row
    return a / by, b / by**3, c / by**5


LIMIT = (15 / 8, -10 / 8, 3 / 8)
"""The nearest polynomial to 1 on an interval that shrinks to 1."""


def nearest_to_one(low: float, high: float) -> tuple[Row, float]:
    """The odd polynomial of degree 5 whose largest distance to 1 on [low, high] is least, and that.

    By the exchange algorithm of Remez: the distance is largest, with signs that alternate, at both
    ends and at the two extrema between them.
    """
    ratio = low / high
    if ratio > 1 - 5e-6:  # the system below would be singular
        return shrunk(LIMIT, high), abs(1 - value(LIMIT, ratio))
    inner = np.array([(3 * ratio + 1) / 4, (ratio + 3) / 4])
    row, error = LIMIT, 1.0
    for _ in range(50):
        x = np.array([ratio, *inner, 1.0])
        system = np.stack([x, x**3, x**5, [1.0, -1.0, 1.0, -1.0]], axis=1)
        a, b, c, error = map(float, np.linalg.solve(system, np.ones(4)))
        row, before = (a, b, c), inner
        root = np.sqrt(9 * b * b - 20 * a * c)
        inner = np.sqrt(np.array([-3 * b - root, -3 * b + root]) / (10 * c))
        if np.max(np.abs(inner - before)) < 1e-15:
            break
    return shrunk(row, high), error


SAFETY = 1.01
"""By this much rounding in bfloat16 may take a singular value out of the interval."""
CUSHION = 0.02407327424182761
"""Singular values below this share of the largest are left to later iterations; a polynomial for
all of them would bring large ones near 0."""


@functools.cache
def polar_express(steps: int) -> Table:
    """Amsel et al., *The Polar Express*, 2025, arXiv:2505.16932, Algorithm 1 and Appendix A.

    Each polynomial is the nearest to 1 on the interval that the ones before map [0.001, 1] to. They
    converge. The paper divides a matrix by 1.01 times its norm; here the first row does.
    """
    low, high = 1e-3, 1.0
    rows: list[Row] = []
    for _ in range(min(steps, 7)):  # after which they are LIMIT, to rounding
        (a, b, c), _ = nearest_to_one(max(low, CUSHION * high), high)
        # The distances at both ends of the whole interval are made equal.
        middle = 2 / (value((a, b, c), low) + value((a, b, c), high))
        row = (a * middle, b * middle, c * middle)
        low = value(row, low)
        high = 2 - low
        rows.append(shrunk(row, SAFETY))
    rows[:1] = [shrunk(row, SAFETY) for row in rows[:1]]
    return (*rows, *[LIMIT] * (steps - len(rows)))


@functools.cache
def cans(steps: int, delta: float = 0.3) -> Table:
    """Grishina, Smirnov & Rakhuba, *Accelerating Newton-Schulz iteration for orthogonalization via
    Chebyshev-type polynomials*, 2025, arXiv:2506.10935, Algorithm 2.

    Each polynomial is the nearest to 1 on the interval that the ones before map [a, 1] to, with the
    least a for which the last one's values are in [1 - delta, 1 + delta].
    """

    def rows_from(low: float) -> tuple[Table, float]:
        rows, error, high = [], 1.0, 1.0
        for _ in range(steps):
            row, error = nearest_to_one(low, high)
            rows.append(row)
            low, high = 1 - error, 1 + error
        return tuple(rows), error

    below, above = 1e-7, 1.0
    for _ in range(60):
        middle = (below * above) ** 0.5
        below, above = (below, middle) if rows_from(middle)[1] < delta else (middle, above)
    return rows_from(above)[0]


def _last(table: Table, steps: int) -> Table:
    """The last rows of a table, as in optax; one row for all steps."""
    if len(table) == 1:
        return table * steps
    if len(table) < steps:
        raise ValueError(
            f"ns_steps must be at most {len(table)}, the rows of ns_coeffs, got {steps}"
        )
    return table[len(table) - steps :]


BY_NAME: dict[str, Callable[[int], Table]] = {
    "jordan": functools.partial(_last, JORDAN),
    "standard": functools.partial(_last, JORDAN),
    "dion": functools.partial(_last, DION),
    "polar_express": polar_express,
    "cans": cans,
}
"""The rows of so many iterations; ``"standard"`` is optax's name of Jordan's."""


def rows_for(coefficients: str | Table, steps: int) -> np.ndarray:
    """A row of coefficients for each of so many iterations, an array of shape (steps, 3).

    Args:
        coefficients: a name, one row for all iterations, or rows of which the last are taken.
        steps: the number of iterations, at least 0.

    Raises:
        ValueError: there is more than one row, but fewer than steps.
    """
    if isinstance(coefficients, str):
        rows = BY_NAME[coefficients](steps)
    else:
        rows = _last(coefficients, steps)
    return np.array(rows).reshape(steps, 3)


def as_coefficients(value: Any) -> str | Table:
    """A name, or rows of three numbers of three numbers, of rows or of an array."""
    if isinstance(value, str):
        if value not in BY_NAME:
            raise ValueError(f"{value!r} is no name; {did_you_mean(value, BY_NAME)}")
        return value
    rows = value.tolist() if hasattr(value, "tolist") else value
    rows = tuple(rows) if hasattr(rows, "__iter__") else ()
    rows = rows if rows and np.ndim(rows[0]) else (rows,)
    if not all(np.ndim(row) == 1 and len(row) == 3 for row in rows):
        raise ValueError(
            f"must be a name ({', '.join(BY_NAME)}), three numbers or rows of three, got"
            f" {brief(value)}"
        )
    return tuple(tuple(map(float, as_numbers(row))) for row in rows)


Coefficients = Annotated[
    Any,
    Field(
        convert=as_coefficients,
        static=True,
        shown="str | Sequence[float] | Sequence[Sequence[float]]",
    ),
]
"""Coefficients of the Newton-Schulz iteration: a name, three numbers, or rows of three."""
