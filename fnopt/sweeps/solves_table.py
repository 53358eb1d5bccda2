"""The table of many minimizations: quantiles over the starts for each method and data set."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from fnopt.core.quantile import quantile
from fnopt.solve.result import OptimizeResult
from fnopt.sweeps.records import Entrant
from fnopt.sweeps.table import Table
from fnopt.sweeps.tables import share_titles


def table_of_solves(
    entrants: Sequence[Entrant], results: Sequence[OptimizeResult], shares: Sequence[float]
) -> Table:
    """Quantiles over the starts; see :meth:`fnopt.sweeps.Solves.quantiles`.

    Args:
        entrants: the methods.
        results: the results of each, with the axes (starts, data sets) or (starts,).
        shares: shares of the quantiles.

    Raises:
        ValueError: a share does not lie in [0, 1].
    """
    titles = share_titles("Solves.quantiles", shares)
    sets = np.shape(results[0].fun)[1:]
    names = list(dict.fromkeys(name for each in entrants for name in each.hyperparameters))
    rows = []
    for entrant, result in zip(entrants, results, strict=True):
        numbers = [entrant.hyperparameters.get(name) for name in names]
        values, converged, counts = (
            np.asarray(x).reshape(len(result.fun), -1)
            for x in (finite(result.fun), result.success, result.nit)
        )
        for i in range(values.shape[1]):
            which = (i,) * bool(sets)
            minima = values[:, i].tolist()
            quantiles = (quantile(minima, share) for share in titles.values())
            solved, usual = int(converged[:, i].sum()), float(np.median(counts[:, i]))
            seen = min(minima), *quantiles, int(usual) if usual.is_integer() else usual
            rows.append((entrant.label, *numbers, *which, len(values), solved, *seen))
    starts = len(results[0].fun)
    return Table(
        f"minima found from {starts} start{'s' * (starts > 1)}",
        ("method", *names, *("data_set",) * bool(sets), "starts", "converged", "lowest",
         *titles, "nit"),
        tuple(rows),
        settings=("method", *names),
        metrics=("lowest", *titles),
    )  # fmt: skip


def finite(values: Any) -> np.ndarray:
    """Values in double precision, those that are not finite as infinite ones."""
    values = np.asarray(values, np.float64)
    return np.where(np.isfinite(values), values, np.inf)
