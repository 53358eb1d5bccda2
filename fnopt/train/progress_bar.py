"""The progress bar of a run on a terminal."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import TextIO

from rich.cells import cell_len
from rich.console import Console
from rich.live import Live
from rich.text import Text

from fnopt.train.progress_line import GAP, Part, fitting, joined

STYLES = {"left": "cyan", "phase": "cyan", "speed": "dim"}


class TerminalBar:
    """A line of a terminal that is kept up to date; the lines that are left stay above it.

    Args:
        stream: the terminal, which is ``sys.stderr``.
        with_stdout: whether ``sys.stdout`` is a terminal too; what a program prints there then goes
            above the bar.

    Attributes:
        live: what rich draws of it.
    """

    def __init__(self, stream: TextIO, with_stdout: bool) -> None:
        self._with_stdout = with_stdout
        self._console = Console(
            file=stream, force_terminal=True, force_interactive=True, force_jupyter=False
        )
        self._columns: dict[str, int] = {}

    def start(self, running: Callable[[bool], list[Part]]) -> None:
        self._running = running
        self.live = Live(
            self,
            console=self._console,
            transient=True,
            refresh_per_second=8,
            redirect_stdout=self._with_stdout,  # of a file it would take the lines
        )
        with _gone():
            self.live.start(refresh=True)
            self._console.show_cursor(True)  # a run that is killed would leave none

    def update(self) -> None:
        """A thread shows what is new, several times a second."""

    def leave(self, parts: list[Part]) -> None:
        chosen = fitting(parts, self._console.width, cell_len)
        with _gone():
            self._console.print(Text(joined(chosen), no_wrap=True, overflow="crop"))

    def stop(self) -> None:
        with _gone():
            self.live.stop()

    def __rich__(self) -> Text:
        """The line as it is now, asked for each time that it is drawn."""
        line = Text(no_wrap=True, overflow="crop")
        parts = [self._steady(part) for part in self._running(True)]
        for part in fitting(parts, self._console.width, cell_len):
            if line:
                line.append(GAP)
            if part.name == "bar":
                filled = part.text.rstrip("─")
                line.append(filled, "bar.complete")
                line.append(part.text[len(filled) :], "bar.back")
            else:
                line.append(part.text, STYLES.get(part.name, ""))
        return line if self._console.encoding.startswith("utf") else _in_ascii(line)

    def _steady(self, part: Part) -> Part:
        """A part as wide as it ever was, so that those beside it stay where they are."""
        if part.name == "phase":  # another text each time
            return part
        columns = max(cell_len(part.text), self._columns.get(part.name, 0))
        self._columns[part.name] = columns
        return part._replace(text=part.text + " " * (columns - cell_len(part.text)))


def _gone() -> contextlib.AbstractContextManager[None]:
    """A terminal that is closed must not end the run."""
    return contextlib.suppress(OSError, ValueError)


def _in_ascii(line: Text) -> Text:
    line.plain = line.plain.replace("━", "#").replace("─", "-")
    return line
