"""Labels beside axes, placed when they are drawn; imported only there, as it needs matplotlib."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.artist import Artist
from matplotlib.lines import Line2D
from matplotlib.text import Text
from matplotlib.transforms import Bbox, IdentityTransform

from fnopt.lab.ends import End, spread
from fnopt.lab.style import Theme, text_color

WIDTH = 24
"""Most characters of a line of a label."""
GAP = 8.0
"""Points between the axes and the labels."""


class EndLabels(Artist):
    """Texts to the right of axes, with lines to the ends of their curves.

    Args:
        axes: matplotlib's axes.
        ends: the ends of lines and their labels, at least one.
        theme: the theme.
        size: size of the text in points.
    """

    def __init__(self, axes: Any, ends: Sequence[End], theme: Theme, size: float) -> None:
        super().__init__()
        self.beside, self.ends = axes, tuple(ends)
        options = {"size": size, "va": "center_baseline"}
        self.texts = [
            Text(0, 0, _broken(end.text), color=text_color(end.color, theme), **options)
            for end in ends
        ]
        self.lines = [Line2D([], [], color=end.color, linewidth=0.7) for end in ends]
        for artist in (*self.texts, *self.lines):
            artist.set_figure(axes.figure)
            artist.set_transform(IdentityTransform())
        self.set_clip_on(False)
        self.set_zorder(3)

    def draw(self, renderer: Any) -> None:
        self.place(renderer)
        for artist in (*self.lines, *self.texts):
            artist.draw(renderer)

    def get_window_extent(self, renderer: Any = None) -> Bbox:
        renderer = renderer or self.beside.figure.canvas.get_renderer()
        self.place(renderer)
        return Bbox.union([text.get_window_extent(renderer) for text in self.texts])

    def get_tightbbox(self, renderer: Any = None) -> Bbox:
        # Not clipped to the axes: a layout is to leave room for it.
        return self.get_window_extent(renderer)

    def place(self, renderer: Any) -> None:
        """Puts the texts beside the axes at their current size and limits."""
        axes, box, unit = self.beside, self.beside.bbox, renderer.points_to_pixels(1)
        edge = axes.get_xlim()[1]
        ends = axes.transData.transform(
            [(edge if end.x is None else end.x, end.y) for end in self.ends]
        )
        ends[np.isnan(ends[:, 1]), 1] = box.y1
        ends = np.clip(ends, [box.x0, box.y0], [box.x1, box.y1])
        heights = [text.get_window_extent(renderer).height + unit for text in self.texts]
        centres = spread(ends[:, 1], heights, box.y0, box.y1)
        left = box.x1 + GAP * unit
        for text, line, (x, y), centre in zip(self.texts, self.lines, ends, centres, strict=True):
            text.set_position((left, centre))
            line.set_visible(abs(centre - y) > 3 * unit or box.x1 - x > 2 * GAP * unit)
            line.set_data([x, box.x1, left - 2 * unit], [y, y, centre])


def _broken(text: str) -> str:
    """A label in lines; a long word, such as the name of a schedule, stays whole."""
    return textwrap.fill(text, WIDTH, break_long_words=False)
