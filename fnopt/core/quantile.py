"""Quantiles of values some of which are infinite."""

from __future__ import annotations

import math
from collections.abc import Iterable


def quantile(values: Iterable[float], share: float) -> float:
    """A quantile with linear interpolation, also of values some of which are infinite.

    It is as ``numpy.quantile``, except that the interpolation between a finite value and an
    infinite one is infinite, and that between two equal infinities is that infinity.

    Args:
        values: at least one number.
        share: the share of the values below it, in [0, 1].

    >>> quantile([3.0, 1.0, 2.0], 0.5), quantile([1.0, float("inf")], 0.5)
    (2.0, inf)
    """
    ordered = sorted(values)
    place = share * (len(ordered) - 1)
    low, high = ordered[math.floor(place)], ordered[math.ceil(place)]
    between = place - math.floor(place)
    return low if low == high or between == 0 or low == -math.inf else low + between * (high - low)
