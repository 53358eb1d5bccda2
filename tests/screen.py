"""What a terminal shows of what a program writes: a small emulator, and a terminal to write to."""

from __future__ import annotations

import contextlib
import os
import pty
import re
import threading
from collections.abc import Iterator
from typing import TextIO

_CODE = re.compile(r"\x1b\[([?\d;]*)([A-Za-z])|([\r\n])|([^\x1b\r\n]+)")


class Screen:
    """The lines of a terminal, without an end at the bottom.

    Args:
        columns: width. What is longer goes on in the next line, as on a terminal.

    Attributes:
        lines: the text of each line.
    """

    def __init__(self, columns: int) -> None:
        self.columns, self.lines, self.row, self.column = columns, [""], 0, 0

    def write(self, text: str) -> None:
        at = 0
        while at < len(text):
            match = _CODE.match(text, at)
            assert match, f"not understood: {text[at : at + 20]!r}"
            code, kind, move, plain = match.groups()
            at = match.end()
            if plain:
                self._put(plain)
            elif move == "\r":
                self.column = 0
            elif move == "\n":
                self._down()
            elif kind == "A":
                self.row = max(0, self.row - int(code or 1))
            elif kind == "K":
                assert code == "2"
                self.lines[self.row] = ""
            else:
                assert kind in "mhl", f"not understood: {match.group()!r}"  # colours, cursor

    def _put(self, text: str) -> None:
        for character in text:
            if self.column == self.columns:
                self.column = 0
                self._down()
            line = self.lines[self.row].ljust(self.column)
            self.lines[self.row] = line[: self.column] + character + line[self.column + 1 :]
            self.column += 1

    def _down(self) -> None:
        self.row += 1
        if self.row == len(self.lines):
            self.lines.append("")

    def __str__(self) -> str:
        return "\n".join(line.rstrip() for line in self.lines).rstrip("\n") + "\n"


@contextlib.contextmanager
def terminal(columns: int) -> Iterator[tuple[TextIO, Screen]]:
    """A terminal to write to, and what it shows once it is left."""
    screen, parts = Screen(columns), []
    reading, writing = pty.openpty()

    def read() -> None:
        with contextlib.suppress(OSError):  # how Linux says that the other end is closed
            while part := os.read(reading, 4096):
                parts.append(part)

    thread = threading.Thread(target=read)
    thread.start()
    try:
        with open(writing, "w", encoding="utf-8") as stream:
            yield stream, screen
    finally:
        thread.join()
        os.close(reading)
    screen.write(b"".join(parts).decode())
