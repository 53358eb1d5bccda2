"""A race of optimizers on a problem."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np

from fnopt.core import Transform
from fnopt.core.checks import brief, positive_integer
from fnopt.core.prng import typed_key
from fnopt.core.stacking import groups_of, stacked
from fnopt.core.tracebacks import hides_frames
from fnopt.lab.problem import Problem
from fnopt.lab.race_arguments import as_entrants, as_rates, as_starts, check_function
from fnopt.lab.race_data import Entrant
from fnopt.lab.race_program import paths_of
from fnopt.lab.race_rates import rate_of, with_rate
from fnopt.lab.race_result import Race


@hides_frames
def race(
    optimizers: Sequence[Any] | Mapping[str, Any],
    problem: Problem,
    *,
    starts: Any = None,
    steps: int = 200,
    learning_rates: Any = None,
    key: Any = 0,
) -> Race:
    """The paths of several optimizers on one problem, each at one rate or at many.

    All optimizers of one structure, at all rates and from all starts, run side by side in one
    program, and another race with the same problem, structures and shapes compiles nothing. The
    same key gives the same numbers to the bit. A run that diverges goes on with infinite numbers.

    Args:
        optimizers: a list of optimizers of fnopt or of optax, or of names such as ``"adam"``, which
            stand for an optimizer with its usual rate; or a dict from labels to such. In a list,
            an optimizer of optax is labelled by its place, as "optax #2".
        problem: the problem, such as :data:`fnopt.lab.beale`.
        starts: where they start: an array of shape (starts, 2) or (2,); or the number of starts, to
            be drawn uniformly from the domain; by default the problem's own.
        steps: number of steps.
        learning_rates: by default each optimizer has its own. An array of rates gives all of them
            to each optimizer. ``"tune"`` does so with 16 from 1e-4 to 10, evenly spaced on a
            logarithmic scale. A schedule is scaled so that the rate is its largest value in these
            steps. Optimizers without a rate, those with a line search and optax's run as they are.
        key: key or seed of the starts, of the noise of a noisy problem and of an optimizer's own
            draws. At one step and from one start, all optimizers have the same noise.

    Returns:
        The race. Of several rates of an optimizer, the best has the smallest value after the last
        step, as a mean over the starts; one at which a run diverged comes last.

    Raises:
        TypeError: ``problem`` is no problem, or an optimizer is none; or the problem's function
            fails, or returns no scalar float.
        ValueError: there is no optimizer of a name; or a number is out of its range.

    >>> from fnopt.lab import beale, race
    >>> result = race(["sgd", "adam"], beale, learning_rates="tune")
    >>> result["adam"].paths.shape
    (16, 1, 201, 2)
    """
    entrants = as_entrants(optimizers)
    if not isinstance(problem, Problem):
        raise TypeError(
            f"race: problem must be a Problem, such as fnopt.lab.beale, got {brief(problem, 40)}"
        )
    check_function(problem)
    steps = positive_integer("race: steps", steps)
    rates = as_rates(learning_rates)
    start_key, key = jax.random.split(typed_key(key))
    points = as_starts(starts, problem, start_key)

    fields = {name: _at_rates(name, tx, rates, steps) for name, tx in entrants.items()}
    labels = list(fields)
    groups = groups_of(variants[0] for _, variants in fields.values())
    done = {}
    for places in groups:
        names = [labels[place] for place in places]
        variants = [tx for name in names for tx in fields[name][1]]
        paths, values = paths_of(
            problem.function, steps, problem.noise > 0, len(variants), stacked(variants), points,
            problem.noise, key,
        )  # fmt: skip
        ends = np.cumsum([len(fields[name][1]) for name in names])[:-1]
        parts = (np.split(np.asarray(x), ends) for x in (paths, values))
        done.update(zip(names, zip(*parts, strict=True), strict=True))
    return Race(
        problem,
        tuple(_entrant(name, *fields[name], *done[name]) for name in entrants),
        len(groups),
    )


def _at_rates(
    name: str, tx: Transform, rates: np.ndarray | None, steps: int
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
    with np.errstate(over="ignore", invalid="ignore"):
        last = values[:, :, -1].mean(axis=1)
    best = int(np.argmin(np.where(np.isfinite(last), last, np.inf)))
    return Entrant(name, variants[best], rates, paths, values, best)
