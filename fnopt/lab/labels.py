"""Labels at the ends of lines that do not overlap."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fnopt.lab.ends import End as End
from fnopt.lab.ends import spread as spread
from fnopt.lab.style import Theme


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
