"""Races on many problems and from many starts, as few programs."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from fnopt.core.checks import did_you_mean
from fnopt.core.entry import entry
from fnopt.lab.problem import Problem
from fnopt.lab.race_result import Race
from fnopt.lab.race_runs import races_on
from fnopt.sweeps.data import QUARTILES
from fnopt.sweeps.races_table import table_of_races
from fnopt.sweeps.table import Table


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Races:
    """Races of the same optimizers on several problems; it prints as the table of quantiles.

    Attributes:
        names: the labels of the problems.
        races: the race on each of them.
        programs: number of compiled programs that ran.
    """

    names: tuple[str, ...]
    races: tuple[Race, ...]
    programs: int

    def __getitem__(self, name: str) -> Race:
        """The race on the problem of this label.

        Raises:
            KeyError: there is none of this label.
        """
        if name not in self.names:
            raise KeyError(f"no problem {name!r}; {did_you_mean(str(name), self.names)}")
        return self.races[self.names.index(name)]

    def __len__(self) -> int:
        return len(self.races)

    def quantiles(
        self, of: Literal["steps", "value"] | None = None, shares: Sequence[float] = QUARTILES
    ) -> Table:
        """How each optimizer did on each problem at its best rate, quantiles over the starts.

        Args:
            of: quantiles of the ``"steps"`` until the value was near the minimum, at most 1 % of
                the start's height above it; or of the last ``"value"``. None for the steps where
                the minima of all problems are known, otherwise the value.
            shares: shares of the quantiles, in [0, 1]; by default the median and the quartiles.

        Returns:
            A table with a row for each problem and optimizer. Its columns are ``problem``,
            ``optimizer``, ``learning_rate``, ``starts`` (how many), ``near`` (from how many the
            value came near the minimum), ``diverged`` (from how many the last value is not finite),
            and the quantiles. One of steps is None where too few came near.

        Raises:
            ValueError: ``of`` is none of these, or a share is out of its range.
        """
        return table_of_races(self.names, self.races, of, shares)

    def plot(
        self,
        path: str | os.PathLike | None = None,
        *,
        theme: str = "light",
        title: str = "",
    ) -> Any:
        """Draws the losses on each problem, the median over the starts and the quartiles.

        Each optimizer is drawn at the best of its rates. Where a problem's minimum is known, losses
        are above it and on a logarithmic scale. ``races["name"].plot()`` draws the paths.

        Args:
            path: path of the picture; not saved if None.
            theme: ``"light"`` or ``"dark"``.
            title: title of the picture.

        Returns:
            The matplotlib figure, which a notebook shows.

        Raises:
            ImportError: matplotlib is not installed.
            ValueError: there is no such theme.
        """
        from fnopt.sweeps.races_picture import plot_races

        return plot_races(self.names, self.races, path, theme, title)

    def __repr__(self) -> str:
        return repr(self.quantiles())

    def _repr_html_(self) -> str:
        return self.quantiles()._repr_html_()


@entry("races(optimizers, problems)")
def races(
    optimizers: Sequence[Any] | Mapping[str, Any],
    problems: Problem | Sequence[Problem] | Mapping[str, Problem],
    *,
    starts: Any = None,
    steps: int = 200,
    learning_rates: Any = None,
    key: Any = 0,
) -> Races:
    """Races of optimizers on many problems and from many starts, with quantiles over the starts.

    Each is the race that :func:`fnopt.lab.race` makes with the same arguments. Problems are one
    program if their functions differ in numbers alone and all or none have noise: those of
    :func:`fnopt.lab.ill_conditioned_quadratic`, a ``jax.tree_util.Partial`` of one function with
    different arrays, or a registered dataclass with a ``__call__``.

    Args:
        optimizers: as of :func:`fnopt.lab.race`.
        problems: a problem, a list of them, or a dict from labels to them. In a list one is
            labelled by its name, and others of the same name with a number.
        starts: where they start: the number of starts, to be drawn uniformly from the domain of
            each problem; an array of shape (starts, 2) or (2,); by default each problem's own.
        steps: number of steps.
        learning_rates: as of :func:`fnopt.lab.race`; for each problem the best is the one with the
            smallest median of the last values over the starts.
        key: key or seed of the starts, of the noise and of an optimizer's own draws.

    Returns:
        The races, in the order of the problems.

    Raises:
        TypeError: a problem or an optimizer is none; or a problem's function fails, or returns no
            scalar float.
        ValueError: there is no problem or no optimizer; or a number is out of its range.

    >>> from fnopt.lab import ill_conditioned_quadratic
    >>> valleys = {f"condition {c}": ill_conditioned_quadratic(c) for c in (10, 100)}
    >>> found = races(["sgd", "adam"], valleys, starts=20, learning_rates="tune")
    >>> found.programs, found["condition 10"]["adam"].paths.shape
    (2, (16, 20, 201, 2))
    >>> last = found.quantiles("value")["median"]  # of sgd and adam on 10, then on 100
    >>> last[0] < last[2]
    True
    """
    named = _named(problems)
    done, programs = races_on(
        "races", optimizers, list(named.values()),
        starts=starts, steps=steps, learning_rates=learning_rates, key=key,
    )  # fmt: skip
    return Races(tuple(named), done, programs)


def _named(problems: Any) -> dict[str, Any]:
    """The problems by their labels."""
    if isinstance(problems, Mapping):
        named = {str(label): problem for label, problem in problems.items()}
    else:
        listed = [problems] if isinstance(problems, Problem) else list(problems)
        names = [getattr(problem, "name", "") for problem in listed]
        counts = [names[:i].count(name) for i, name in enumerate(names)]
        named = {
            f"{name} #{before + 1}" if before else name: problem
            for name, before, problem in zip(names, counts, listed, strict=True)
        }
    if not named:
        raise ValueError("races: problems is empty; give at least one, such as fnopt.lab.beale")
    return named
