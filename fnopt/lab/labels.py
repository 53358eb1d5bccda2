"""Labels at the ends of curves, beside the axes, none upon another."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np


class EndLabel(NamedTuple):
    """What is written beside the axes.

    Attributes:
        text: the label.
        x: where its curve ends; None for the edge of the axes.
        y: the height there.
        color: the color of its curve.
    """

    text: str
    x: float | None
    y: float
    color: str


def spread(targets: Sequence[float], heights: Sequence[float], low: float, high: float) -> Any:
    """Places nearest to those wished for at which boxes do not overlap.

    They minimize the squared distances, and lie between ``low`` and ``high`` where there is room.

    Args:
        targets: wished centres of the boxes.
        heights: heights of the boxes.
        low: the lowest edge of a box.
        high: the highest edge of a box.

    Returns:
        The centres, an array.

    >>> spread([0, 1, 10], [4, 4, 4], -10, 20)
    array([-1.5,  2.5, 10. ])
    """
    order = np.lexsort(
        (-np.arange(len(targets)), np.asarray(targets, float))
    )  # of equal ones the first is highest
    tall = np.asarray(heights, float)[order]
    below = np.cumsum(tall) - tall / 2  # the centres of boxes that stand on each other
    # Without what is below it a place must not be lower than the one before: isotonic regression.
    pools: list[list[float]] = []
    for place in np.asarray(targets, float)[order] - below:
        pools.append([place, 1])
        while len(pools) > 1 and pools[-2][0] > pools[-1][0]:
            (one, many), (other, more) = pools[-2:]
            pools[-2:] = [[(one * many + other * more) / (many + more), many + more]]
    places = np.concatenate([np.full(int(many), place) for place, many in pools])
    centres = np.empty(len(order))
    centres[order] = np.clip(places, low, max(low, high - tall.sum())) + below
    return centres


def readable(color: str, background: str, contrast: float = 4.5) -> str:
    """The color for text on a background: darker or lighter until its contrast is that of WCAG.

    Args:
        color: a color of matplotlib.
        background: likewise.
        contrast: ratio of the luminances, 1 to 21.

    >>> readable("#0072B2", "#ffffff"), readable("#E69F00", "#ffffff")
    ('#0072b2', '#9c6c00')
    """
    from matplotlib.colors import to_hex, to_rgb

    start, behind = np.array(to_rgb(color)), _luminance(np.array(to_rgb(background)))
    end = np.zeros(3) if behind > 0.18 else np.ones(3)
    mixed = start
    for share in np.linspace(0, 1, 51):
        mixed = (1 - share) * start + share * end
        lighter, darker = sorted([_luminance(mixed), behind], reverse=True)
        if (lighter + 0.05) / (darker + 0.05) >= contrast:
            break
    return to_hex(tuple(mixed))


def _luminance(rgb: np.ndarray) -> float:
    """The relative luminance of a color in sRGB."""
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    return float(linear @ [0.2126, 0.7152, 0.0722])


def label_ends(axes: Any, labels: Sequence[EndLabel]) -> None:
    """Writes labels to the right of the axes, at the heights at which their curves end.

    They are spread when the picture is drawn, so that limits and sizes may still change; one that
    is moved, or whose curve ends before the edge, has a thin line to its end. A constrained layout
    leaves room for them.

    Args:
        axes: matplotlib's axes, whose figure has its background.
        labels: the labels; long ones are broken into lines.
    """
    from fnopt.lab.end_labels import EndLabels

    if labels:
        axes.add_artist(EndLabels(axes, labels))
