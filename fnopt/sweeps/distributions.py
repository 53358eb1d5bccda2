"""What hyperparameters are drawn from, and evenly spaced values of them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from fnopt.core.checks import brief, integer, positive_integer
from fnopt.core.fields import as_number


class Distribution:
    """What a hyperparameter is drawn from: its inverse cumulative distribution function."""

    def at(self, share: float) -> Any:
        """The value below which this share of the probability lies.

        Args:
            share: a number in [0, 1).
        """
        raise NotImplementedError


class uniform(Distribution):
    r"""A number between two ends, each as likely: :math:`x = a + u\,(b - a)`, u uniform in [0, 1).

    Args:
        low: the lower end a, a finite number.
        high: the upper end b, above it.

    Raises:
        TypeError: an end is no number.
        ValueError: an end is not finite, or the lower one is not below the upper one.

    >>> uniform(0.8, 1.0).at(0.5)
    0.9
    """

    def __init__(self, low: float, high: float) -> None:
        self.low, self.high = _ends("uniform", low, high, -math.inf)

    def at(self, share: float) -> float:
        return self.low + share * (self.high - self.low)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.low:g}, {self.high:g})"


class log_uniform(uniform):
    r"""A number whose logarithm is uniform: :math:`x = a\,(b/a)^u`, u uniform in [0, 1).

    Each factor of ten is as likely as any other: for learning rates, decays and the like.

    Args:
        low: the lower end a, above 0.
        high: the upper end b, above it.

    Raises:
        TypeError: an end is no number.
        ValueError: an end is not in (0, inf), or the lower one is not below the upper one.

    References:
        Bergstra & Bengio, *Random Search for Hyper-Parameter Optimization*, JMLR 13 (2012),
        section 4.

    >>> round(log_uniform(1e-4, 1e-2).at(0.5), 6)
    0.001
    """

    def __init__(self, low: float, high: float) -> None:
        self.low, self.high = _ends("log_uniform", low, high, 0.0)

    def at(self, share: float) -> float:
        return self.low * (self.high / self.low) ** share


class integers(Distribution):
    """An integer between two ends, both among them, each as likely.

    Args:
        low: the smallest.
        high: the largest, above it.

    Raises:
        TypeError: an end is no integer.
        ValueError: the smallest is not below the largest.

    >>> integers(2, 8).at(0.0), integers(2, 8).at(0.5), integers(2, 8).at(0.99)
    (2, 5, 8)
    """

    def __init__(self, low: int, high: int) -> None:
        self.low = integer("integers: low", low)
        self.high = integer("integers: high", high)
        if not self.low < self.high:
            raise ValueError(f"integers: low must be below high, got {self.low} and {self.high}")

    def at(self, share: float) -> int:
        # A share that is rounded to 1 is none above the largest.
        return min(self.high, self.low + int(share * (self.high - self.low + 1)))

    def __repr__(self) -> str:
        return f"integers({self.low}, {self.high})"


class choice(Distribution):
    """One of several values, each as likely.

    Args:
        *values: the values, of any kind, at least one: ``choice(0, 0.01)``, not a list of them.

    Raises:
        TypeError: there is one alone, a list, tuple, range, set or array.
        ValueError: there is none.

    >>> choice(0.0, 1e-2, 1e-1).at(0.5)
    0.01
    """

    def __init__(self, *values: Any) -> None:
        if not values:
            raise ValueError("choice: there are no values; give at least one, as choice(0, 0.01)")
        if len(values) == 1 and _has_several(values[0]):
            (one,) = values
            items = one.tolist() if hasattr(one, "tolist") else list(one)
            words = ", ".join(brief(x, 30) for x in items) if 0 < len(items) < 6 else "*values"
            raise TypeError(
                f"choice: the only value is {brief(one, 40)} ({type(one).__name__}), of which"
                f" nothing is chosen; give the values themselves, as choice({words})"
            )
        self.values = values

    def at(self, share: float) -> Any:
        return self.values[int(share * len(self.values))]

    def __repr__(self) -> str:
        return f"choice({', '.join(map(repr, self.values))})"


def log_space(low: float, high: float, n: int) -> tuple[float, ...]:
    """Numbers each the same factor above the one before, both ends among them.

    Args:
        low: the first, above 0.
        high: the last, above it.
        n: how many, at least 1; one alone is ``low``.

    Raises:
        TypeError: an end is no number, or ``n`` no integer.
        ValueError: an end is not in (0, inf), the first is not below the last, or ``n`` is below 1.

    >>> log_space(1e-5, 1, 6)
    (1e-05, 0.0001, 0.001, 0.01, 0.1, 1.0)
    """
    low, high = _ends("log_space", low, high, 0.0)
    return _rounded(np.geomspace(low, high, positive_integer("log_space: n", n)))


def lin_space(low: float, high: float, n: int) -> tuple[float, ...]:
    """Numbers at the same distance from each other, both ends among them.

    Args:
        low: the first, a finite number.
        high: the last, above it.
        n: how many, at least 1; one alone is ``low``.

    Raises:
        TypeError: an end is no number, or ``n`` no integer.
        ValueError: an end is not finite, the first is not below the last, or ``n`` is below 1.

    >>> lin_space(0, 1, 5)
    (0.0, 0.25, 0.5, 0.75, 1.0)
    """
    low, high = _ends("lin_space", low, high, -math.inf)
    return _rounded(np.linspace(low, high, positive_integer("lin_space: n", n)))


def _has_several(value: Any) -> bool:
    """Whether it is a list of values, of whatever kind, and no value itself."""
    # An optimizer is a tuple too, of a type of its own.
    return type(value) in (list, tuple, range, set, frozenset) or getattr(value, "ndim", 0) > 0


def _rounded(values: np.ndarray) -> tuple[float, ...]:
    # To digits that a float32 does not have: 0.001 is not to be 0.0010000000000000002.
    return tuple(float(f"{x:.12g}") for x in values)


def _ends(caller: str, low: Any, high: Any, least: float) -> tuple[float, float]:
    ends = {"low": low, "high": high}
    numbers: Sequence[Any] = [as_number(end) for end in ends.values()]
    for (name, end), number in zip(ends.items(), numbers, strict=True):
        if not isinstance(number, float):
            raise TypeError(f"{caller}: {name} must be a number, got {brief(end, 40)}")
        if not least < number < math.inf:
            raise ValueError(f"{caller}: {name} must lie in ({least:g}, inf), got {brief(end, 40)}")
    if not numbers[0] < numbers[1]:
        raise ValueError(f"{caller}: low must be below high, got {low!r} and {high!r}")
    return numbers[0], numbers[1]
