"""What the schedules are built of: how far along a count is, and ways from value to value."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

import jax
import jax.numpy as jnp

from fnopt.core.checks import Interval
from fnopt.core.fields import Field
from fnopt.core.types import Numeric

Length = Annotated[Any, Field(Interval("[0, inf)"))]
"""A number of updates, 0 allowed."""
Positive = Annotated[Any, Field(Interval("(0, inf)"))]
"""A number above 0."""
Factor = Annotated[
    Any, Field(Interval("[0, inf)"), below="give it without a sign: 0.5 halves the value")
]
"""A factor that is applied again and again, at least 0."""
Share = Annotated[Any, Field(Interval("[0, 1]"))]
"""A share of the whole."""
Shape = Annotated[Any, Field(static=True, choices=("linear", "cosine"))]
"""Of the way from value to value."""


def positive(steps: Numeric) -> Numeric:
    """A length to divide by, 1 where there is none."""
    return jnp.where(steps > 0, steps, 1.0)


def elapsed(count: jax.Array, begin: Numeric) -> jax.Array:
    """Updates since the beginning, which is 0 if it is negative."""
    return jnp.maximum(count - jnp.maximum(begin, 0.0), 0)


def progress(count: jax.Array, steps: Numeric) -> jax.Array:
    """The share of some updates that is done, exactly 0 to exactly 1; 1 if there are none."""
    # The end is its own branch: XLA divides by a constant with its reciprocal, and 47 * (1 / 47)
    # falls short of 1.
    done = count >= steps
    share = jnp.where(done, 0.0, jnp.maximum(count, 0.0)) / positive(steps)
    return jnp.where(done, 1.0, share)


def between(start: Numeric, end: Numeric, share: Numeric) -> Numeric:
    """The value so far on the way; exactly the ends at its ends, for any sizes."""
    return (1 - share) * start + share * end


def bend(shape: str, share: Numeric) -> Numeric:
    """The share of a straight line (``"linear"``) or of half a wave (``"cosine"``)."""
    return share if shape == "linear" else 0.5 * (1 - jnp.cos(jnp.pi * share))


def path(
    shape: str, count: jax.Array, boundaries: Sequence[Numeric], values: Sequence[Numeric]
) -> Numeric:
    """From value to value, each reached at its boundary; the last one stays."""
    value = values[0]
    for i, boundary in enumerate(boundaries[:-1]):
        share = progress(count - boundary, boundaries[i + 1] - boundary)
        onward = between(values[i], values[i + 1], bend(shape, share))
        value = jnp.where(count >= boundary, onward, value)
    return value


def at_least_one(schedule: Any, name: str) -> None:
    """Raises TypeError or ValueError where a static number of updates is none."""
    value = getattr(schedule, name)
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(f"{type(schedule).__name__}: {name} must be an integer, got {value!r}")
    if value < 1:
        raise ValueError(f"{type(schedule).__name__}: {name} must be at least 1, got {value}")


def falling(schedule: Any, above: str, below: str, why: str) -> None:
    """Raises ValueError where one concrete number of a schedule is not above another."""
    high, low = getattr(schedule, above), getattr(schedule, below)
    if isinstance(high, float) and isinstance(low, float) and high <= low:
        raise ValueError(
            f"{type(schedule).__name__}: {above} {why}, so it must be above {below}={low:g},"
            f" got {high:g}"
        )
