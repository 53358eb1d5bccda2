"""Labels at the ends of lines that do not overlap."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from fnopt.lab.ends import End, spread
from fnopt.lab.style import Theme, text_color


def label_ends(axes: Any, ends: Sequence[End], theme: Theme, *, size: float = 9.0) -> list[Any]:
    """Labels lines in a column to the right of axes, each as near to the end of its line as it can.

    They are placed when the figure is drawn, so that limits and sizes may still change, and a
    layout leaves room for them. A label away from the end of its line has a thin line to it.

    Args:
        axes: matplotlib's axes.
        ends: where the lines end. An end outside the axes is labelled at their edge, one that is
            NaN at the upper one.
        theme: the theme, which decides how dark the text is.
        size: size of the text in points.

    Returns:
        The labels, matplotlib's texts.
    """
    from fnopt.lab.end_labels import EndLabels

    if not ends:
        return []
    return axes.add_artist(EndLabels(axes, ends, theme, size)).texts


def _places(axes: Any, points: Sequence[tuple[float, float]], size: float) -> np.ndarray:
    """The vertical places of labels beside points, as shares of the height of the axes."""
    to_axes = axes.transData + axes.transAxes.inverted()
    wanted = to_axes.transform(np.reshape(points, (-1, 2)))[:, 1]
    gap = 1.25 * size * axes.figure.dpi / 72 / axes.bbox.height
    return spread(wanted, gap, gap / 2, 1 - gap / 2)


class MovingLabels:
    """Labels that stay beside the points of an animation.

    Args:
        axes: matplotlib's axes, all drawn and with their limits set. The figure is laid out so that
            there is room for the labels to the right, and stays so.
        texts: the labels.
        colors: the colour of each.
        theme: the theme.
        size: size of the text in points.

    Attributes:
        artists: the labels, matplotlib's annotations.
    """

    def __init__(
        self, axes: Any, texts: Sequence[str], colors: Sequence[str], theme: Theme, size: float = 9
    ) -> None:
        self.axes, self.size = axes, size
        corner = axes.get_xlim()[1], axes.get_ylim()[0]
        self.artists = [
            axes.annotate(
                text,
                corner,
                (8, 0),
                textcoords="offset points",
                size=size,
                va="center",
                color=text_color(color, theme),
                annotation_clip=False,
                zorder=9,
            )
            for text, color in zip(texts, colors, strict=True)
        ]
        axes.figure.get_layout_engine().execute(axes.figure)
        axes.figure.set_layout_engine("none")

    def move(self, points: Sequence[tuple[float, float]]) -> None:
        """Puts each label to the right of its point, and as near its height as there is room."""
        places = _places(self.axes, points, self.size) * self.axes.bbox.height
        for label, (x, y), place in zip(self.artists, points, places, strict=True):
            at = self.axes.transData.transform((x, y))[1] - self.axes.bbox.y0
            label.xy = (x, y)
            label.set_position((8, (place - at) * 72 / self.axes.figure.dpi))
