"""Files to which the records of a run are written at once, as text or as lines of JSON."""

from __future__ import annotations

import os
import reprlib
from pathlib import Path
from typing import Any, Protocol

from fnopt.train.history import History
from fnopt.train.plain import line, plain

Paths = str | os.PathLike | list[str | os.PathLike] | tuple[str | os.PathLike, ...]
TEXT = (".txt", ".log")
"""Endings of files that are for people to read."""


class Writer(Protocol):
    """A destination of records: a log file, TensorBoard."""

    def write(self, record: dict[str, Any]) -> None: ...

    def close(self) -> None: ...


class Log:
    """A file of JSON lines that grows during a run; begins with the history so far.

    Args:
        path: path of the file; its content is replaced, so that it has no line twice.
        history: the records before.
    """

    def __init__(self, path: str | os.PathLike, history: History) -> None:
        self.path = Path(path)
        history.write(self.path)

    def write(self, record: dict[str, Any]) -> None:
        """Appends a record. The file is whole after each."""
        with self.path.open("a") as file:
            file.write(line(record))

    def close(self) -> None:
        """Nothing is left open."""


class TextLog:
    """A file with one readable line for each record, which grows during a run.

    Args:
        path: path of the file; its content is replaced, so that it has no line twice.
        history: the records before.
        epochs: epochs of the whole run.
    """

    def __init__(self, path: str | os.PathLike, history: History, epochs: int) -> None:
        self.path, self.epochs = Path(path), epochs
        self.path.parent.mkdir(parents=True, exist_ok=True)
        lines = [text_line(record, epochs) for record in history.in_order()]
        self.path.write_text("".join(lines))

    def write(self, record: dict[str, Any]) -> None:
        """Appends a record. The file is whole after each."""
        with self.path.open("a") as file:
            file.write(text_line(record, self.epochs))

    def close(self) -> None:
        """Nothing is left open."""


_FIRST, _LAST = ("loss",), ("learning_rate", "grad_norm", "update_norm", "loss_scale", "skipped")
_ELSEWHERE = ("epoch", "step", "seconds")


def text_line(record: dict[str, Any], epochs: int) -> str:
    """A record as a line: epoch, step, metrics in columns, seconds.

    Args:
        record: the record of an epoch or an evaluation.
        epochs: epochs of the whole run.
    """
    ends = (*_FIRST, *_LAST, *_ELSEWHERE)
    names = [*_FIRST, *(name for name in record if name not in ends), *_LAST]
    width = len(str(epochs))
    columns = [f"epoch {record['epoch']:>{width}}/{epochs}", f"step {record['step']:<8}"]
    columns += [f"{name} {_number(record[name]):<10}" for name in names if name in record]
    if "seconds" in record:
        columns.append(f"{record['seconds']:.1f} s")
    return "  ".join(columns).rstrip() + "\n"


def _number(x: Any) -> str:
    """A number in at most ten characters; what a callback has added may be anything."""
    x = plain(x)
    return f"{x:.4g}" if isinstance(x, (int, float)) else reprlib.repr(x).replace("\n", " ")


def log_paths(log: Any) -> list[Path]:
    """The paths of the logs.

    Args:
        log: a path, a list of paths, or None.

    Raises:
        TypeError: something else is there.
        ValueError: a path is there twice.
        IsADirectoryError: a path is that of a folder.
    """
    if log is None:
        return []
    paths = list(log) if isinstance(log, (list, tuple)) else [log]
    for path in paths:
        if not isinstance(path, (str, os.PathLike)):
            raise TypeError(
                f"fit: log must be a path such as 'run.txt', or a list of paths, got {path!r}"
                f" ({type(path).__name__})"
            )
    paths = [Path(path) for path in paths]
    if folder := next((path for path in paths if path.is_dir()), None):
        raise IsADirectoryError(
            f"fit: log is the folder {str(folder)!r}; give a file in it, such as"
            f" {str(folder / 'run.txt')!r}"
        )
    if twice := next((path for path in paths if paths.count(path) > 1), None):
        raise ValueError(f"fit: log has {str(twice)!r} twice; each file needs a path of its own")
    return paths


def open_log(path: Path, history: History, epochs: int) -> Writer:
    """The log of a path: text for the endings ``.txt`` and ``.log``, lines of JSON otherwise.

    Args:
        path: path of the file.
        history: the records before.
        epochs: epochs of the whole run.
    """
    if path.suffix.lower() in TEXT:
        return TextLog(path, history, epochs)
    return Log(path, history)
