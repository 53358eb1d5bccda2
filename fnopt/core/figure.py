"""Pictures that a notebook shows; imported where one is drawn, as it needs matplotlib."""

from __future__ import annotations

import io
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


def _png(figure: Any) -> tuple[bytes, dict[str, int]]:
    """A PNG with two pixels for each of the figure's, and the size to show it at."""
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=2 * figure.dpi)
    width, height = (round(inches * figure.dpi) for inches in figure.get_size_inches())
    return file.getvalue(), {"width": width, "height": height}
