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

    After ``%matplotlib inline`` it is IPython that draws it, in the format of its settings.
    """

    def _repr_png_(self) -> bytes:
        return _png(self)


class ShownAxes(Axes):
    """Axes that a notebook shows, as it does a figure."""

    def _repr_png_(self) -> bytes:
        return _png(self.figure)


def _png(figure: Any) -> bytes:
    file = io.BytesIO()
    figure.savefig(file, format="png")
    return file.getvalue()
