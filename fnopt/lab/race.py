"""A race of optimizers on a problem."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from fnopt.core.tracebacks import hides_frames
from fnopt.lab.problem import Problem
from fnopt.lab.race_result import Race
from fnopt.lab.race_runs import races_on


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
    :func:`fnopt.sweeps.races` races on many problems, and has quantiles over the starts.

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
        step, as the median over the starts, in which a run that diverged counts as infinite. Of
        equal ones it is the one at which fewer runs diverged, then the one with the smallest mean
        of the others.

    Raises:
        TypeError: ``problem`` is no problem, or an optimizer is none; or the problem's function
            fails, or returns no scalar float.
        ValueError: there is no optimizer of a name; or a number is out of its range.

    >>> from fnopt.lab import beale, race
    >>> result = race(["sgd", "adam"], beale, learning_rates="tune")
    >>> result["adam"].paths.shape
    (16, 1, 201, 2)
    """
    races, _ = races_on(
        "race", optimizers, [problem],
        starts=starts, steps=steps, learning_rates=learning_rates, key=key,
    )  # fmt: skip
    return races[0]
