"""A claim on a page of the course, and whether its experiment confirms it.

The kernels that run the pages import it; ``claim_pages`` shows it.
"""

from __future__ import annotations

import json
from typing import Any

VERDICTS = ("held", "in part", "failed")


class claim:
    """A verdict, shown as the last value of a cell.

    Args:
        statement: the claim, a sentence in Markdown, with mathematics between dollar signs.
        held: whether it held: True, False, or one of the verdicts, such as ``"in part"``.
        figure: the numbers on which the verdict rests, a sentence in Markdown.

    Raises:
        ValueError: ``held`` is another word.
    """

    def __init__(self, statement: str, held: Any, figure: str) -> None:
        if not isinstance(held, str):
            held = VERDICTS[0 if held else 2]
        elif held not in VERDICTS:
            raise ValueError(f"held must be True, False or one of {VERDICTS}, got {held!r}")
        self.verdict, self.statement, self.figure = held, statement, figure

    def _repr_markdown_(self) -> str:
        # In quotes, as in YAML, where a colon or a number sign would otherwise have a meaning.
        figure = json.dumps(" ".join(self.figure.split()), ensure_ascii=False)
        return f"````{{claim}} {self.verdict}\n:figure: {figure}\n\n{self.statement}\n````\n"
