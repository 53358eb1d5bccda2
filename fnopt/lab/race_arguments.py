"""The arguments of a race, checked and converted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from fnopt.core import Transform
from fnopt.core.checks import brief, positive_integer
from fnopt.core.labels import labels_of
from fnopt.lab.problem import Problem
from fnopt.solve.methods import as_method

TUNED = np.geomspace(1e-4, 10.0, 16)
"""The rates that are tried: each about 2.15 times the one before."""


def as_entrants(caller: str, optimizers: Any) -> dict[str, Transform]:
    """The optimizers by their labels.

    Raises:
        TypeError: the argument is no list and no dict, or an entry is no optimizer.
        ValueError: there is no optimizer, or none of a name.
    """
    if isinstance(optimizers, (str, Transform)) or not isinstance(optimizers, (Mapping, Sequence)):
        raise TypeError(
            f"{caller}: optimizers must be a list of optimizers or names, or a dict from labels to"
            f" such, got {brief(optimizers, 40)}; a single one is [optimizer]"
        )
    if not optimizers:
        raise ValueError(f'{caller}: optimizers is empty; name at least one, as in ["adam"]')
    if isinstance(optimizers, Mapping):
        return {str(label): as_method(caller, value) for label, value in optimizers.items()}
    transforms = [as_method(caller, value) for value in optimizers]
    return dict(zip(labels_of(transforms), transforms, strict=True))


def check_function(caller: str, problem: Problem) -> None:
    """Checks that a problem's function takes a point and returns a number.

    Raises:
        TypeError: it fails, or returns another thing.
    """
    dtype = jnp.result_type(float)
    cure = "it must take one array of shape (2,), a point, and return a scalar float"
    try:
        value = jax.eval_shape(problem.function, jax.ShapeDtypeStruct((2,), dtype))
    except Exception as error:
        raise TypeError(
            f"{caller}: the function of problem {brief(problem.name, 40)} fails with"
            f" {type(error).__name__}, {brief(str(error), 120)}; {cure}, computed by jax.numpy"
        ) from error
    scalar = isinstance(value, jax.ShapeDtypeStruct) and value.shape == ()
    if not scalar or not jnp.issubdtype(value.dtype, jnp.floating):
        raise TypeError(
            f"{caller}: the function of problem {brief(problem.name, 40)} returns"
            f" {brief(value, 80)}; {cure}"
        )


def as_rates(caller: str, learning_rates: Any) -> np.ndarray | None:
    """The rates that all optimizers have, an array; None for each one's own.

    Raises:
        TypeError: it is neither, and not ``"tune"``.
        ValueError: there is none, or one is not positive and finite.
    """
    if learning_rates is None:
        return None
    if isinstance(learning_rates, str):
        if learning_rates != "tune":
            raise ValueError(
                f'{caller}: learning_rates must be an array of rates, "tune" or None, got'
                f" {brief(learning_rates, 40)}"
            )
        return TUNED
    try:
        rates = np.atleast_1d(np.asarray(learning_rates, float))
    except (TypeError, ValueError):
        raise TypeError(
            f'{caller}: learning_rates must be an array of rates, "tune" or None, got'
            f" {brief(learning_rates, 40)}"
        ) from None
    if rates.ndim > 1 or not rates.size:
        raise ValueError(
            f"{caller}: learning_rates must have shape (rates,), at least one, got {rates.shape}"
        )
    wrong = rates[~((rates > 0) & np.isfinite(rates))]
    if wrong.size:
        raise ValueError(f"{caller}: learning_rates must be in (0, inf), got {wrong[0]:g}")
    return rates


def as_starts(caller: str, starts: Any, problem: Problem, key: jax.Array) -> jax.Array:
    """Where the optimizers start, an array of shape (starts, 2).

    Raises:
        TypeError: it is neither an array of numbers nor an integer.
        ValueError: its shape is another, a number is not finite, or there is no start.
    """
    dtype = jnp.result_type(float)
    if starts is None:
        return jnp.asarray([problem.start], dtype)
    if np.ndim(starts) == 0:
        number = positive_integer(f"{caller}: starts, where it is a number,", starts)
        low, high = (jnp.asarray(corner, dtype) for corner in zip(*problem.domain, strict=True))
        share = jax.random.uniform(key, (number, 2), dtype)
        return low[None] + share * (high - low)[None]
    try:
        points = np.asarray(starts, float)
    except (TypeError, ValueError):
        raise TypeError(
            f"{caller}: starts must be an array of shape (starts, 2), a number of starts or None,"
            f" got {brief(starts, 40)}"
        ) from None
    if points.shape == (2,):
        points = points[None]
    if points.ndim != 2 or points.shape[1] != 2 or not len(points):
        raise ValueError(
            f"{caller}: starts must have shape (starts, 2), or (2,) for one, got {points.shape}"
        )
    if not np.isfinite(points).all():
        raise ValueError(f"{caller}: starts must be finite; it has an infinite number or NaN")
    return jnp.asarray(points, dtype)
