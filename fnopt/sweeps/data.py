"""The result of a sweep."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np

from fnopt.sweeps.best import BestEntrant as BestEntrant
from fnopt.sweeps.best import best_entrant, best_run
from fnopt.sweeps.curves import curves_of
from fnopt.sweeps.entrants import by_entrant
from fnopt.sweeps.files import read_json, write_csv, write_json
from fnopt.sweeps.measure import Measure
from fnopt.sweeps.records import Entrant as Entrant
from fnopt.sweeps.records import RunRecord as RunRecord
from fnopt.sweeps.table import Table
from fnopt.sweeps.tables import table_by, table_of_entrants, table_of_runs
from fnopt.train.progress_line import duration, number
from fnopt.train.reprs import call

At = Literal["best", "final"]
"""Where a run's value is read: at its best epoch, or after its last one."""
QUARTILES = (0.25, 0.5, 0.75)


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Sweep:
    """The result of a sweep: its runs, and tables, files and pictures of them.

    A run is judged by the monitored metric: by its best value, or with ``at="final"`` by the value
    after its last epoch. A run that diverged counts as the worst there is, in the order of a table
    and in every quantile: the median of an entrant of which most seeds diverged is infinite. By
    another metric the runs are judged after ``dataclasses.replace(sweep, monitor="val_accuracy",
    mode="max")``.

    Attributes:
        runs: the runs.
        monitor: name of the monitored metric, ``"val_loss"``, or ``"loss"`` where there is no
            validation data.
        mode: whether its smallest (``"min"``) or its largest value (``"max"``) is the best.
        programs: number of compiled programs that ran the epochs.
        seconds: seconds that the sweep took, with compilation.
        states: by the numbers of runs, the final train states that were kept; None for none.
        interrupted: whether Ctrl-C or SIGTERM ended it, so that runs are missing or are not whole.

    >>> import numpy as np
    >>> from fnopt.sweeps import Entrant, RunRecord, Sweep
    >>> rates, losses = [0.01, 0.1, 1.0], [0.75, 0.5, np.nan]
    >>> entrants = [Entrant("sgd", None, {"learning_rate": rate}) for rate in rates]
    >>> sweep = Sweep(
    ...     tuple(
    ...         RunRecord(i, entrant, 0, np.array([1, 2]), {"loss": np.array([1.0, losses[i]])},
    ...                   diverged_at=40 if rates[i] == 1 else None)
    ...         for i, entrant in enumerate(entrants)
    ...     ),
    ...     monitor="loss", mode="min", programs=1, seconds=2.0)
    >>> sweep
    Sweep(
        3 runs, 3 entrants, 1 diverged, 1 program, 2.0 s,
        best loss 0.5000: sgd(learning_rate=0.1),
    )
    >>> sweep.table()
    3 runs by their best loss, the best first, 1 diverged
    in all: optimizer sgd
    run  learning_rate  seed   final    best  best_epoch  diverged_at
      1  0.1               0  0.5000  0.5000           2            -
      0  0.01              0  0.7500  0.7500           2            -
      2  1                 0       -  1.0000           1           40
    >>> sweep.best().hyperparameters
    {'learning_rate': 0.1}
    """

    runs: tuple[RunRecord, ...]
    monitor: str
    mode: str
    programs: int
    seconds: float
    states: Any = None
    interrupted: bool = False

    def table(self, *, at: At = "best") -> Table:
        """The runs, the best first, those that diverged last.

        Args:
            at: what they are sorted by: ``"best"`` for the best value of a run, ``"final"`` for
                that after its last epoch.

        Returns:
            A table with a row for each run. Its columns are ``run`` (the number), ``optimizer``,
            the hyperparameters, ``seed``, ``final`` and ``best`` value of the monitored metric,
            ``best_epoch``, ``diverged_at`` (the step) and ``stopped_at`` (the epoch). It prints in
            the width of the terminal, at most 20 rows.

        Raises:
            ValueError: ``at`` is none of these.
        """
        return table_of_runs(self.runs, self._measure("table", at))

    def best(self, *, at: At = "best") -> BestEntrant:
        """The entrant with the best median over its seeds.

        Of equal medians it is the one that diverges less often, then the one with the better single
        run.

        Args:
            at: what a run is judged by; see :meth:`table`.

        Returns:
            The entrant, with its median, its runs, ``tx`` and ``hyperparameters``.

        Raises:
            ValueError: every run diverged.
        """
        return best_entrant(self.runs, self._measure("best", at))

    def best_run(self, *, at: At = "best") -> RunRecord:
        """The best single run, which a lucky seed may be; of equal ones the first.

        Args:
            at: what a run is judged by; see :meth:`table`.

        Raises:
            ValueError: every run diverged.
        """
        return best_run(self.runs, self._measure("best_run", at))

    def by(self, *names: str, shares: Sequence[float] = QUARTILES, at: At = "best") -> Table:
        """Quantiles for each value of hyperparameters, over seeds and all other hyperparameters.

        Args:
            *names: names of hyperparameters; ``"optimizer"`` for the labels of the optimizers,
                ``"seed"`` for the seeds.
            shares: shares of the quantiles, in [0, 1]; by default the median and the quartiles.
            at: what a run is judged by; see :meth:`table`.

        Returns:
            A table with a row for each value, or combination of values. Its columns are the names,
            ``runs`` (how many), the quantiles (``median``, ``q25``, …), ``best`` of all these runs,
            and ``diverged`` (how many).

        Raises:
            ValueError: a name is unknown, or a share out of its range.
        """
        return table_by(self.runs, names, shares, self._measure("by", at))

    def quantiles(self, shares: Sequence[float] = QUARTILES, *, at: At = "best") -> Table:
        """Quantiles over the seeds of each entrant, the best median first.

        Args:
            shares: shares of the quantiles, in [0, 1]; by default the median and the quartiles.
            at: what a run is judged by; see :meth:`table`.

        Returns:
            A table with a row for each entrant; its columns are as those of :meth:`by`.

        Raises:
            ValueError: a share is out of its range.
        """
        return table_of_entrants(self.runs, shares, self._measure("quantiles", at))

    def curves(self, metric: str | None = None) -> dict[str, tuple[np.ndarray, np.ndarray]]:
        """The curves of all entrants, as :func:`fnopt.lab.plot_curves` draws them.

        Args:
            metric: name of a metric; the monitored one by default.

        Returns:
            A dict from labels, such as ``"adamw(learning_rate=0.1)"``, to pairs of epochs, shape
            (epochs,), and values, shape (seeds, epochs), NaN after the end of a run. The entrants
            are in the order of their medians, the best first.

        Raises:
            ValueError: there is no such metric.
        """
        return curves_of(self.runs, self._measure("curves"), metric)

    def plot(
        self,
        path: str | os.PathLike | None = None,
        *,
        kind: Literal["values", "heat map", "curves"] | None = None,
        by: str | Sequence[str] | None = None,
        at: At = "best",
        theme: str = "light",
        title: str = "",
    ) -> Any:
        """Draws the monitored metric by what varies in the sweep.

        * ``"values"``: the metric against a hyperparameter, with the median over seeds as a line
          and the quartiles as a band. There is a line for each optimizer, or for each value of a
          second hyperparameter. Where most seeds diverged the line ends, and a cross at the edge
          marks every place where some did.
        * ``"heat map"``: the median over seeds by two hyperparameters, with the best marked; of
          random draws a point for each entrant.
        * ``"curves"``: the metric over the epochs for the five best entrants, with quartiles.

        Where hyperparameters vary that a picture does not show, it shows the best of their values.

        Args:
            path: path of the picture; not saved if None.
            kind: one of these. By default ``"curves"`` where no hyperparameter varies; a heat map
                where two numbers do, of one optimizer, each of more than four values or drawn at
                random; else ``"values"``.
            by: name of the hyperparameter along the horizontal axis, or a pair with that of the
                lines, or of the vertical axis of a heat map. By default the learning rate, or else
                the hyperparameter of the most values, is the first.
            at: what a run is judged by; see :meth:`table`.
            theme: ``"light"`` or ``"dark"``.
            title: title of the picture.

        Returns:
            The matplotlib figure, which a notebook shows.

        Raises:
            ImportError: matplotlib is not installed.
            ValueError: every run diverged, a name is unknown, or an option is none of those named.
        """
        from fnopt.sweeps.pictures import plot

        names = None if by is None else (by,) if isinstance(by, str) else tuple(by)
        return plot(self.runs, self._measure("plot", at), kind, names, path, theme, title)

    def to_csv(self, path: str | os.PathLike) -> None:
        """Writes the table of runs as CSV, the best first, with all digits.

        Args:
            path: path of the file; folders are created.
        """
        write_csv(path, table_of_runs(self.runs, self._measure("to_csv")))

    def to_json(self, path: str | os.PathLike) -> None:
        """Writes all of it but the states as JSON, which :meth:`read` reads back.

        Optimizers, schedules and functions are written as text.

        Args:
            path: path of the file; folders are created.
        """
        names = ("monitor", "mode", "programs", "seconds", "interrupted")
        write_json(path, self.runs, {name: getattr(self, name) for name in names})

    @classmethod
    def read(cls, path: str | os.PathLike) -> Sweep:
        """The sweep that :meth:`to_json` wrote.

        Args:
            path: path of the file.

        Returns:
            A sweep without states, whose optimizers are text, as are schedules and functions among
            the hyperparameters.

        Raises:
            OSError: the file cannot be read.
            ValueError: it is not what :meth:`to_json` writes.
        """
        runs, about = read_json(path)
        return cls(runs, **about)

    def _measure(self, method: str, at: str = "best") -> Measure:
        return Measure(self.monitor, self.mode, at, f"Sweep.{method}")

    def __len__(self) -> int:
        return len(self.runs)

    def __repr__(self) -> str:
        counts = {
            "run": len(self.runs),
            "entrant": len(by_entrant(self.runs)),
            "program": self.programs,
        }
        run, entrant, program = (f"{n} {what}{'s' * (n != 1)}" for what, n in counts.items())
        diverged = sum(each.diverged for each in self.runs)
        ended = f"{diverged} diverged, " if diverged else ""
        try:
            best = self.best()
            shown = f"best {self.monitor} {number(best.median)}: {best.entrant}"
        except ValueError:
            shown = f"no finite {self.monitor}"
        ended += "interrupted, " * self.interrupted
        head = f"{run}, {entrant}, {ended}{program}, {duration(self.seconds)}"
        return call("Sweep", head, shown)
