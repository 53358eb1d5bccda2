"""Coordinates in which a hyperparameter has no ends: logarithm, logit, or itself."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from fnopt.core.checks import Interval


class Coordinate(NamedTuple):
    r"""A map of an open interval to the whole line, and back.

    .. math:: z = \begin{cases}
        \log (x - a) & (a, \infty) \\
        -\log (b - x) & (-\infty, b) \\
        \log (x - a) - \log (b - x) & (a, b) \\
        x & (-\infty, \infty) \end{cases}

    So a positive number goes by its logarithm, and a fraction by its logit.

    Attributes:
        low: the lower end :math:`a`, or minus infinity.
        high: the upper end :math:`b`, or infinity.

    >>> float(Coordinate.of(Interval("[0, inf)"))(1.0))
    0.0
    >>> float(Coordinate.of(Interval("[0, 1)")).back(jnp.array(0.0)))
    0.5
    """

    low: float
    high: float

    @classmethod
    def of(cls, interval: Interval) -> Coordinate:
        """The coordinate of a range; whether its ends belong to it does not matter."""
        return cls(*interval.ends)

    def __call__(self, x: Any) -> jax.Array:
        """The coordinate of a number strictly inside the range, or of an array of them."""
        x = jnp.asarray(x)
        from_low, from_high = self.bounded
        if from_low and from_high:
            return jnp.log(x - self.low) - jnp.log(self.high - x)
        if from_low:
            return jnp.log(x - self.low)
        return -jnp.log(self.high - x) if from_high else x

    def back(self, z: jax.Array) -> jax.Array:
        """The number of a coordinate, which stays strictly inside the range."""
        from_low, from_high = self.bounded
        if from_low and from_high:
            x = self.low + (self.high - self.low) * jax.nn.sigmoid(z)
        elif from_low:
            x = self.low + jnp.exp(z)
        else:
            x = self.high - jnp.exp(-z) if from_high else z
        # Rounding must not bring it to an end, where methods divide by it or by 1 - b.
        return jnp.clip(x, _next_to(self.low, 1, z.dtype), _next_to(self.high, -1, z.dtype))

    @property
    def bounded(self) -> tuple[bool, bool]:
        """Whether the range ends below, and whether it ends above."""
        return self.low > -math.inf, self.high < math.inf


def _next_to(end: float, sign: int, dtype: Any) -> np.ndarray:
    """The finite normal number next to an end, above it or below it."""
    limits = jnp.finfo(dtype)
    if math.isinf(end) or end == 0:
        return np.asarray(sign * (limits.tiny if end == 0 else -limits.max), dtype)
    return np.nextafter(np.asarray(end, dtype), np.asarray(sign * math.inf, dtype))
