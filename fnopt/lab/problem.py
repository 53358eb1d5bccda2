"""What a problem to look at is."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import jax

Point = tuple[float, float]


@dataclasses.dataclass(frozen=True)
class Problem:
    """A function of two variables, with what is known of it.

    Attributes:
        name: its name.
        function: a function of an array of shape (2,) that returns a scalar.
        domain: the rectangle that is drawn, ``((left, right), (bottom, top))``.
        start: where paths usually start.
        minima: its global minima; empty where there is none.
        minimum: its value there; None where there is none.
        noise: standard deviation of the normal noise on each number of a gradient; 0 for none.
    """

    name: str
    function: Callable[[jax.Array], jax.Array]
    domain: tuple[Point, Point]
    start: Point
    minima: tuple[Point, ...] = ()
    minimum: float | None = None
    noise: float = 0.0
