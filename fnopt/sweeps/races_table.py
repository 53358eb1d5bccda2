"""The table of races: quantiles over the starts for each problem and optimizer."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from fnopt.core.checks import one_of
from fnopt.core.quantile import quantile
from fnopt.lab.race_data import NEAR
from fnopt.lab.race_result import Race
from fnopt.sweeps.table import Table
from fnopt.sweeps.tables import share_titles

SETTINGS = ("problem", "optimizer", "learning_rate")
OF = ("steps", "value")


def table_of_races(
    names: Sequence[str], races: Sequence[Race], of: str | None, shares: Sequence[float]
) -> Table:
    """Quantiles over the starts; see :meth:`fnopt.sweeps.Races.quantiles`.

    Args:
        names: the labels of the problems.
        races: the race on each.
        of: what the quantiles are of, one of ``OF``; None for what is known of all problems.
        shares: shares of the quantiles.

    Raises:
        ValueError: ``of`` is none of these, or a share does not lie in [0, 1].
    """
    one_of("Races.quantiles: of", of, (None, *OF))
    if of is None:
        of = "value" if any(race.least is None for race in races) else "steps"
    titles = share_titles("Races.quantiles", shares)
    rows = []
    for name, race in zip(names, races, strict=True):
        for entrant in race.entrants:
            steps, last = race.steps_to_near(entrant.name), entrant.values[entrant.best, :, -1]
            finite, known = np.isfinite(last), not np.isnan(steps).any()
            values = np.where(finite, last, np.inf).tolist()
            rates = entrant.learning_rates
            row = name, entrant.name, None if rates is None else float(rates[entrant.best])
            near = int(np.isfinite(steps).sum()) if known else None
            quantiles = (
                quantile(values, share) if of == "value" else _count(quantile(steps, share), known)
                for share in titles.values()
            )
            rows.append((*row, len(steps), near, int((~finite).sum()), *quantiles))
    start = races[0].entrants[0].values[0]
    what = f"steps to {NEAR:.0%}" if of == "steps" else "last value"
    return Table(
        f"{what}, {len(start)} start{'s' * (len(start) > 1)}, {start.shape[1] - 1} steps",
        (*SETTINGS, "starts", "near", "diverged", *titles),
        tuple(rows),
        settings=SETTINGS,
        metrics=tuple(titles) if of == "value" else (),
    )


def _count(steps: float, known: bool) -> float | None:
    """A number of steps; a whole one where it is, None where it is infinite or not known."""
    if not known or not np.isfinite(steps):
        return None
    return int(steps) if steps == int(steps) else float(steps)
