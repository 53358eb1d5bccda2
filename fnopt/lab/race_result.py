"""The result of a race: the paths of all optimizers."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from fnopt.core.checks import did_you_mean
from fnopt.lab.problem import Problem


@dataclasses.dataclass(frozen=True)
class Entrant:
    """What one optimizer did in a race, at each of its rates and from each start.

    Attributes:
        name: the label.
        optimizer: the optimizer at the rate of number ``best``.
        learning_rates: the rates, shape (rates,); None where it has none.
        paths: the points, shape (rates, starts, steps + 1, 2), the start first.
        values: the function at them, shape (rates, starts, steps + 1), without noise.
        best: the number of the rate that is drawn as the path: the one given, or the best of
            those tried.
    """

    name: str
    optimizer: Any
    learning_rates: np.ndarray | None
    paths: np.ndarray
    values: np.ndarray
    best: int = 0


@dataclasses.dataclass(frozen=True)
class Race:
    """Paths of optimizers on one problem.

    Attributes:
        problem: the problem.
        entrants: what each optimizer did.
        programs: number of programs that were compiled for it, one for each structure.
    """

    problem: Problem
    entrants: tuple[Entrant, ...]
    programs: int

    def __getitem__(self, name: str) -> Entrant:
        """What the optimizer of this label did.

        Raises:
            KeyError: there is none of this label.
        """
        known = {entrant.name: entrant for entrant in self.entrants}
        if name not in known:
            raise KeyError(f"no entrant {name!r}; {did_you_mean(str(name), known)}")
        return known[name]
