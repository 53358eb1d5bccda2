"""Logs of runs: records as lines of JSON."""

from __future__ import annotations

import dataclasses
import json
import sys
from numbers import Real
from pathlib import Path
from typing import Any

from fnopt.cli.screen import fitted
from fnopt.cli.usage import UsageError
from fnopt.core.checks import brief


@dataclasses.dataclass(frozen=True)
class LogRecord:
    """A line of a log.

    Attributes:
        where: its file and the number of its line, for errors.
        values: what is recorded, with a step.
    """

    where: str
    values: dict[str, Any]

    def number(self, name: str) -> float:
        """A value that must be a number.

        Raises:
            UsageError: it is something else.
        """
        value = self.values[name]
        if not isinstance(value, Real) or isinstance(value, bool):
            raise UsageError(f"{self.where}: {name} must be a number, got {brief(value)}")
        return float(value)


Records = list[LogRecord]


def read_log(file: str) -> Records:
    """The records of a log of JSON lines, without those that have no step.

    A last line that was cut off, as where a run was killed, is left out, and standard error says
    so.

    Raises:
        UsageError: there is no such file, or it is something else.
    """
    path = Path(file)
    if path.is_dir():
        raise UsageError(f"{file} is a folder; name the logs in it, as {path / '*.jsonl'}")
    if not path.is_file():
        raise UsageError(f"there is no log {file}; fnopt train leaves one, as out/digits.jsonl")
    lines = enumerate(path.read_text(errors="replace").split("\n"), 1)
    lines = [(number, line) for number, line in lines if line.strip()]
    records: Records = []
    for number, line in lines:
        where = f"{file}, line {number}"
        try:
            values = json.loads(line)
        except ValueError:
            if number == lines[-1][0] and records:
                message = f"{where}: the last line was cut off; the lines before it are used"
                print(fitted(message, sys.stderr), file=sys.stderr)
                break
            values = None
        if not isinstance(values, dict) or "step" not in values:
            raise UsageError(
                f"{file} is no log of JSON lines, each with a step: line {number} is"
                f" {brief(line)}; those of fnopt train end in .jsonl"
            )
        records.append(LogRecord(where, values))
    records = [record for record in records if record.values["step"] is not None]
    if not records:
        raise UsageError(f"{file} has no record yet")
    return records
