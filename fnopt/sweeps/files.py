"""A sweep in files: a table as CSV, and all of it as JSON, which can be read back."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Hashable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from fnopt.sweeps.entrants import entrant_key
from fnopt.sweeps.records import Entrant, RunRecord
from fnopt.sweeps.table import Table
from fnopt.sweeps.texts import is_number, text
from fnopt.train.plain import dumps, loads

FORMAT = "fnopt.sweep"
VERSION = 1
PLAIN = (bool, int, float, str, type(None))


def write_csv(path: str | os.PathLike, table: Table) -> None:
    """Writes a table as CSV, with all digits; a cell without a value is empty.

    Args:
        path: path of the file; folders are created.
        table: the table.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(table.columns)
        writer.writerows([_cell(value) for value in row] for row in table.rows)


def write_json(path: str | os.PathLike, runs: Sequence[RunRecord], about: dict[str, Any]) -> None:
    """Writes runs as JSON, each entrant once.

    Args:
        path: path of the file; folders are created.
        runs: the runs.
        about: what else is known of the sweep, by name.
    """
    entrants: dict[Hashable, tuple[int, Entrant]] = {}
    for run in runs:
        entrants.setdefault(entrant_key(run.entrant), (len(entrants), run.entrant))
    written = {
        "format": FORMAT,
        "version": VERSION,
        **about,
        "entrants": [
            {
                "label": entrant.label,
                "tx": text(entrant.tx),
                "hyperparameters": {
                    name: _value(value) for name, value in entrant.hyperparameters.items()
                },
            }
            for _, entrant in entrants.values()
        ],
        "runs": [
            {
                "number": run.number,
                "entrant": entrants[entrant_key(run.entrant)][0],
                "seed": run.seed,
                "diverged_at": run.diverged_at,
                "stopped_at": run.stopped_at,
                "epochs": np.asarray(run.epochs).tolist(),
                "curves": {name: np.asarray(x).tolist() for name, x in run.curves.items()},
            }
            for run in runs
        ],
    }
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(dumps(written), encoding="utf-8")


def read_json(path: str | os.PathLike) -> tuple[tuple[RunRecord, ...], dict[str, Any]]:
    """The runs that :func:`write_json` wrote, and what else was known of the sweep.

    Args:
        path: path of the file.

    Raises:
        OSError: the file cannot be read.
        ValueError: it is not what :func:`write_json` writes, or of a later version.
    """
    try:
        read = loads(Path(path).read_text(encoding="utf-8"))
        known = isinstance(read, dict) and read.get("format") == FORMAT
    except (json.JSONDecodeError, UnicodeDecodeError):
        read, known = {}, False
    if not known:
        raise ValueError(f"Sweep.read: {path} is not a sweep; give a file of Sweep.to_json")
    if read.pop("version") > VERSION:
        raise ValueError(f"Sweep.read: {path} is of a later version of fnopt; upgrade fnopt")
    del read["format"]
    entrants = [
        Entrant(
            each["label"],
            each["tx"],
            {name: _tuples(value) for name, value in each["hyperparameters"].items()},
        )
        for each in read.pop("entrants")
    ]
    runs = tuple(
        RunRecord(
            number=each["number"],
            entrant=entrants[each["entrant"]],
            seed=each["seed"],
            epochs=np.asarray(each["epochs"], int),
            curves={name: np.asarray(x, float) for name, x in each["curves"].items()},
            diverged_at=each["diverged_at"],
            stopped_at=each["stopped_at"],
        )
        for each in read.pop("runs")
    )
    return runs, read


def _cell(value: Any) -> Any:
    """A value of a row: Python's shortest digits of a number, which read back as the same."""
    if value is None:
        return ""
    return _value(value) if is_number(value) else text(value)


def _value(value: Any) -> Any:
    """A hyperparameter as JSON has it: numbers, flags and tuples of them; anything else as text."""
    if type(value) in (list, tuple):
        return [_value(part) for part in value]
    if is_number(value) and not isinstance(value, (int, float)):
        return np.asarray(value).item()
    return value if isinstance(value, PLAIN) else text(value)


def _tuples(value: Any) -> Any:
    return tuple(map(_tuples, value)) if isinstance(value, list) else value
