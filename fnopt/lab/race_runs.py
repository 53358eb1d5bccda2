"""Races on one problem or on several: those that differ in numbers alone are one program."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from fnopt.core import Transform
from fnopt.core.checks import brief, positive_integer
from fnopt.core.prng import typed_key
from fnopt.core.quantile import quantile
from fnopt.core.stacking import groups_of, stacked, structure_of
from fnopt.lab.problem import Problem
from fnopt.lab.race_arguments import as_entrants, as_rates, as_starts, check_function
from fnopt.lab.race_data import Entrant
from fnopt.lab.race_program import as_tree, paths_of
from fnopt.lab.race_rates import rate_of, with_rate
from fnopt.lab.race_result import Race

Outcome = tuple[np.ndarray, np.ndarray]
"""Paths and values of an optimizer on a problem."""


def races_on(
    caller: str,
    optimizers: Any,
    problems: Sequence[Any],
    *,
    starts: Any,
    steps: int,
    learning_rates: Any,
    key: Any,
) -> tuple[tuple[Race, ...], int]:
    """A race on each of several problems; the arguments are those of :func:`fnopt.lab.race`.

    Args:
        caller: the function that was called, for errors.
        problems: the problems.

    Returns:
        The races, and the number of programs.

    Raises:
        TypeError: as :func:`fnopt.lab.race`.
        ValueError: as :func:`fnopt.lab.race`.
    """
    entrants = as_entrants(caller, optimizers)
    for problem in problems:
        if not isinstance(problem, Problem):
            raise TypeError(
                f"{caller}: problem must be a Problem, such as fnopt.lab.beale, got"
                f" {brief(problem, 40)}"
            )
        check_function(caller, problem)
    steps = positive_integer(f"{caller}: steps", steps)
    rates = as_rates(caller, learning_rates)
    start_key, key = jax.random.split(typed_key(key))
    points = [as_starts(caller, starts, problem, start_key) for problem in problems]
    fields = [_at_rates(tx, rates, steps) for tx in entrants.values()]
    groups, alike = groups_of(variants[0] for _, variants in fields), _alike(problems)
    done: dict[tuple[int, int], Outcome] = {}
    for numbers in alike:
        functions = stacked([as_tree(problems[n].function) for n in numbers])
        of_starts = jnp.stack([points[n] for n in numbers])
        noise = jnp.asarray([problems[n].noise for n in numbers], of_starts.dtype)
        noisy = problems[numbers[0]].noise > 0
        for group in groups:
            variants = [tx for i in group for tx in fields[i][1]]
            outcome = paths_of(
                steps, noisy, len(variants), functions, stacked(variants), of_starts, noise, key
            )
            ends = np.cumsum([len(fields[i][1]) for i in group])[:-1]
            paths, values = (np.split(np.asarray(x), ends, axis=1) for x in outcome)
            for i, path, value in zip(group, paths, values, strict=True):
                done.update(((n, i), (path[at], value[at])) for at, n in enumerate(numbers))
    races = (
        Race(
            problem,
            tuple(_entrant(name, *fields[i], *done[n, i]) for i, name in enumerate(entrants)),
            len(groups),
        )
        for n, problem in enumerate(problems)
    )
    return tuple(races), len(groups) * len(alike)


def _alike(problems: Sequence[Problem]) -> list[list[int]]:
    """The places of problems that are one program, together."""
    together: dict[Any, list[int]] = {}
    for place, problem in enumerate(problems):
        key = structure_of(as_tree(problem.function)), problem.noise > 0
        together.setdefault(key, []).append(place)
    return list(together.values())


def _at_rates(
    tx: Transform, rates: np.ndarray | None, steps: int
) -> tuple[np.ndarray | None, list[Transform]]:
    """The rates of an entrant, and the optimizer at each."""
    own = rate_of(tx, steps)
    if own is None:
        return None, [tx]
    if rates is None:
        return np.array([own]), [tx]
    return rates, [with_rate(tx, float(rate), steps) for rate in rates]


def _entrant(
    name: str,
    rates: np.ndarray | None,
    variants: list[Transform],
    paths: np.ndarray,
    values: np.ndarray,
) -> Entrant:
    best = min(range(len(variants)), key=lambda place: _rank(values[place, :, -1]))
    return Entrant(name, variants[best], rates, paths, values, best)


def _rank(last: np.ndarray) -> tuple[float, int, float]:
    """A key by which the best rate is the first, of the last values from all starts.

    The mean would not tell rates from each other once each has one start that diverged.
    """
    values = last.astype(float)
    finite = values[np.isfinite(values)]
    median = quantile(np.where(np.isfinite(values), values, np.inf).tolist(), 0.5)
    return median, len(values) - len(finite), float(finite.mean()) if finite.size else np.inf
