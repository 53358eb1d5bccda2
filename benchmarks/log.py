"""A log of records, one a line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


class Log:
    """Writes each record to a file at once, and keeps it.

    Args:
        path: the file, which is written anew.

    Attributes:
        records: what was written.
    """

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(exist_ok=True)
        path.write_text("")
        self.path = path
        self.records: list[dict[str, Any]] = []

    def __call__(self, kind: str, **record: Any) -> None:
        """Adds a record of a kind."""
        self.records.append({"kind": kind, **record})
        with self.path.open("a") as file:
            file.write(json.dumps(self.records[-1]) + "\n")
