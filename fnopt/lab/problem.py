"""Problems: functions of two variables, with what is known of them."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from fnopt.core.checks import brief

Point = tuple[float, float]


@dataclasses.dataclass(frozen=True)
class Problem:
    """A function of two variables, with what is known of it; it is called with a point.

    Attributes:
        name: its name.
        function: a function of an array of shape (2,) that returns a scalar.
        domain: the rectangle that is drawn, ``((left, right), (bottom, top))``.
        start: where paths usually start.
        minima: its global minima; empty where there is none, or none is known.
        minimum: its value there; None where there is none, or it is not known.
        noise: standard deviation of the normal noise on each number of a gradient; 0 for none.

    Raises:
        TypeError: the function cannot be called, or the domain or the start is not of numbers.
        ValueError: the domain or the start has another shape, is empty or not finite.

    >>> import jax, jax.numpy as jnp
    >>> from fnopt.lab import Problem, race
    >>> def bowl(point):
    ...     return jnp.sum(point**2)
    >>> problem = Problem("bowl", bowl, domain=((-1, 1), (-1, 1)), start=(0.9, 0.5))
    >>> float(problem(jnp.array([1.0, 2.0])))
    5.0
    """

    name: str
    function: Callable[[jax.Array], jax.Array]
    domain: tuple[Point, Point]
    start: Point
    minima: tuple[Point, ...] = ()
    minimum: float | None = None
    noise: float = 0.0

    def __post_init__(self) -> None:
        if not callable(self.function):
            raise TypeError(
                "Problem: function must be a function of an array of shape (2,), got"
                f" {brief(self.function, 40)}"
            )
        domain = _finite("domain", self.domain, (2, 2), "((left, right), (bottom, top))")
        _finite("start", self.start, (2,), "(x, y)")
        if not np.all(domain[:, 0] < domain[:, 1]):
            raise ValueError(
                "Problem: domain must be ((left, right), (bottom, top)) with left < right and"
                f" bottom < top, got {brief(self.domain, 60)}"
            )

    def __call__(self, point: jax.Array) -> jax.Array:
        return self.function(point)


def _finite(field: str, value: Any, shape: tuple[int, ...], form: str) -> np.ndarray:
    wanted = f"Problem: {field} must be {form}, finite numbers, got {brief(value, 60)}"
    try:
        numbers = np.asarray(value, float)
    except TypeError:
        raise TypeError(wanted) from None
    except ValueError:  # rows of different lengths, or words
        raise ValueError(wanted) from None
    if numbers.shape != shape or not np.isfinite(numbers).all():
        raise ValueError(wanted)
    return numbers


def noisy(problem: Problem, scale: float) -> Problem:
    r"""A problem whose gradients have noise, as those of mini-batches have.

    In step :math:`t`, from the point :math:`x_{t-1}`, the loss is the function plus a linear one,

    .. math:: f(x) + \sigma\,\xi_t^\top (x - x_{t-1}), \qquad \xi_t \sim \mathcal N(0, I),

    so that all gradients that an optimizer evaluates in a step have the same noise. The values of a
    race are without noise.

    Args:
        problem: the problem; noise that it has is replaced.
        scale: :math:`\sigma`, standard deviation of the noise on each number of a gradient, at
            least 0.

    Raises:
        TypeError: ``problem`` is no problem.
        ValueError: ``scale`` is negative or not finite.

    >>> from fnopt.lab import beale, noisy
    >>> noisy(beale, 0.5).name
    'noisy_beale'
    """
    if not isinstance(problem, Problem):
        raise TypeError(
            f"noisy: problem must be a Problem, such as fnopt.lab.beale, got {brief(problem, 40)}"
        )
    if not 0 <= scale < float("inf"):
        raise ValueError(f"noisy: scale must be in [0, inf), got {brief(scale, 40)}")
    name = "noisy_" * (scale > 0) + problem.name.removeprefix("noisy_")
    return dataclasses.replace(problem, name=name, noise=float(scale))


def of_function(
    domain: tuple[Point, Point],
    start: Point,
    minima: tuple[Point, ...] = (),
    minimum: float | None = None,
) -> Callable[[Callable[[jax.Array, jax.Array], jax.Array]], Problem]:
    """A decorator: a function of x and y becomes the problem of its name, with its docstring.

    Args:
        domain: as the attribute of :class:`Problem`; likewise the others.
    """

    def decorate(function: Callable[[jax.Array, jax.Array], jax.Array]) -> Problem:
        def of_point(point: jax.Array) -> jax.Array:
            return function(point[0], point[1])

        problem = Problem(function.__name__, of_point, domain, start, minima, minimum)
        object.__setattr__(problem, "__doc__", function.__doc__)
        return problem

    return decorate
