"""Pictures that a notebook shows; imported where one is drawn, as it needs matplotlib."""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import Any

try:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
except ImportError as error:
    raise ImportError("pictures need matplotlib: pip install 'fnopt[lab]'") from error


class ShownFigure(Figure):
    """A figure that a notebook shows where it ends a cell, with any backend of matplotlib.

    It has two pixels for each of the figure's, for sharp screens. After ``%matplotlib inline``
    IPython draws it instead, in the format of its settings.
    """

    def _repr_png_(self) -> tuple[bytes, dict[str, int]]:
        return _png(self)


class ShownAxes(Axes):
    """Axes that a notebook shows, as it does a figure."""

    def _repr_png_(self) -> tuple[bytes, dict[str, int]]:
        return _png(self.figure)


def save(figure: Any, path: str | os.PathLike, dpi: float) -> None:
    """Writes a figure, its folder too; as PNG the same figure gives the same bytes.

    Args:
        figure: matplotlib's figure.
        path: path of the file; the suffix decides the format.
        dpi: pixels per inch.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    undated = {"Software": None} if path.suffix.lower() == ".png" else None
    figure.savefig(path, dpi=dpi, metadata=undated)


def _png(figure: Any) -> tuple[bytes, dict[str, int]]:
    """A PNG with two pixels for each of the figure's, and the size to show it at."""
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=2 * figure.dpi)
    width, height = (round(inches * figure.dpi) for inches in figure.get_size_inches())
    return file.getvalue(), {"width": width, "height": height}
