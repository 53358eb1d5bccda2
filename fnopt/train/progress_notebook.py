"""The progress bar of a run in a notebook."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Any

from fnopt.train.progress_line import Part, fitting, joined

COLUMNS = 100


class NotebookBar:
    """An output that is kept up to date; the lines that are left are printed below it.

    It is plain text, so that it needs no widgets and a saved notebook can be read.
    """

    def start(self, running: Callable[[bool], list[Part]]) -> None:
        from IPython.display import display  # pyright: ignore

        self._running, self._shown_at = running, -math.inf
        self._output: Any = display(self._content(), raw=True, display_id=True)

    def update(self) -> None:
        if time.monotonic() > self._shown_at + 0.25:
            self._shown_at = time.monotonic()
            self._output.update(self._content(), raw=True)

    def leave(self, parts: list[Part]) -> None:
        print(joined(parts), flush=True)

    def stop(self) -> None:
        self._output.update({"text/plain": ""}, raw=True)

    def _content(self) -> dict[str, str]:
        return {"text/plain": joined(fitting(self._running(True), COLUMNS))}
