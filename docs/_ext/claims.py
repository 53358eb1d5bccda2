"""What a page of the course says at its end: a claim, and whether its experiment bears it out.

The kernels that run the pages import it; ``claim_pages`` shows it.
"""

from __future__ import annotations

from typing import Any

VERDICTS = ("held", "in part", "failed")


class claim:
    """A verdict, shown as the last value of a cell.

    Args:
        statement: the claim, a sentence.
        held: whether it held: True, False, or ``"in part"``.
        figure: the figures on which the verdict rests, in words.
    """

    def __init__(self, statement: str, held: Any, figure: str) -> None:
        self.verdict = "in part" if held == "in part" else VERDICTS[0 if bool(held) else 2]
        self.statement, self.figure = statement, figure

    def _repr_markdown_(self) -> str:
        return f"````{{claim}} {self.verdict}\n:figure: {self.figure}\n\n{self.statement}\n````\n"
