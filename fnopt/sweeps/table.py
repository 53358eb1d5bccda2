"""A table that prints in the width of a terminal, and whose columns are read by name."""

from __future__ import annotations

import dataclasses
import html
import shutil
from collections.abc import Iterator, Sequence
from typing import Any

from fnopt.core.checks import did_you_mean
from fnopt.sweeps.entrants import key_of
from fnopt.sweeps.table_text import cells, table_text

ROWS = 20
"""Rows that are printed."""


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Table:
    """A table; it prints in the width of the terminal, or in 80 columns without one.

    The text leaves out hyperparameters that are the same in all rows, and says them above. It is
    cut after 20 rows, and says how many more there are. A column is read by its name; the rows are
    dicts, so that ``pandas.DataFrame(list(table))`` makes a data frame.

    Attributes:
        title: what the table is of.
        columns: names of the columns.
        rows: the values, a tuple for each row; None where there is none.
        settings: names of the columns that have hyperparameters.
        metrics: names of the columns that have values of a metric; an infinity is of runs that
            diverged.

    >>> rates = Table("an example", ("learning_rate", "best"), ((0.1, 0.25), (1.0, float("inf"))),
    ...               settings=("learning_rate",), metrics=("best",))
    >>> rates
    an example
    learning_rate      best
    0.1              0.2500
    1              diverged
    >>> rates["learning_rate"], list(rates)[0]
    ([0.1, 1.0], {'learning_rate': 0.1, 'best': 0.25})
    """

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Any, ...], ...]
    settings: tuple[str, ...] = ()
    metrics: tuple[str, ...] = ()

    def __getitem__(self, name: str) -> list[Any]:
        """The values of a column.

        Raises:
            KeyError: there is no column of this name.
        """
        if name not in self.columns:
            raise KeyError(f"no column {name!r}; {did_you_mean(str(name), self.columns)}")
        place = self.columns.index(name)
        return [row[place] for row in self.rows]

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """The rows, dicts by the names of the columns."""
        return (dict(zip(self.columns, row, strict=True)) for row in self.rows)

    def text(self, *, most: int | None = ROWS, width: int | None = None) -> str:
        """The table as text.

        Columns that have no room are left out, the last hyperparameters first, which the text says.

        Args:
            most: most rows; None for all of them.
            width: columns of a line; None for those of the terminal, 80 without one.
        """
        width = shutil.get_terminal_size().columns if width is None else width
        shown = len(self) if most is None else min(most, len(self))
        columns = {name: self._cells(name)[:shown] for name in self.columns}
        return table_text(
            self.title,
            columns,
            constant=[name for name in self.settings if self._is_constant(name)],
            settings=self.settings,
            left=len(self) - shown,
            width=width,
        )

    def _cells(self, name: str) -> list[str]:
        return cells(self[name], setting=name in self.settings, metric=name in self.metrics)

    def _is_constant(self, name: str) -> bool:
        values = self[name]
        return len(values) > 1 and len(set(map(key_of, values))) == 1

    def __repr__(self) -> str:
        return self.text()

    def _repr_html_(self) -> str:
        def row(cells: Sequence[Any], tag: str) -> str:
            return "<tr>" + "".join(f"<{tag}>{html.escape(str(x))}</{tag}>" for x in cells)

        columns = [self._cells(name)[:ROWS] for name in self.columns]
        lines = [row(self.columns, "th"), *(row(each, "td") for each in zip(*columns, strict=True))]
        left = max(len(self) - ROWS, 0)
        more = f"<p>and {left} more rows</p>" if left else ""
        return f"<p>{html.escape(self.title)}</p><table>{''.join(lines)}</table>{more}"
