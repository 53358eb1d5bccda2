"""The heights of a function of two variables over a rectangle, and levels that show them well."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from fnopt.lab.problem import Problem
from fnopt.lab.style import Theme, heights

POINTS = 161
"""Points of the grid along each axis."""
LEVELS = 14
"""Number of contours."""
WIDE = 50.0
"""From this ratio of the heights on, levels are spaced on a logarithmic scale."""


class Landscape(NamedTuple):
    """What is drawn of a function.

    Attributes:
        x: shape (points,).
        y: shape (points,).
        height: the function less its minimum, shape (points of y, points of x). Without a known
            minimum, or where one is not the least, less the least value in the rectangle.
        levels: the heights of the contours, increasing; none where all heights are the same, or
            none is a number.
    """

    x: np.ndarray
    y: np.ndarray
    height: np.ndarray
    levels: np.ndarray


def landscape(problem: Problem) -> Landscape:
    """The heights of a problem over its domain, and the levels of its contours.

    Where heights differ much, as in a valley with steep walls, levels are spaced on a logarithmic
    scale, so that the valley has contours too.
    """
    x, y = (np.linspace(low, high, POINTS) for low, high in problem.domain)
    points = jnp.stack(jnp.meshgrid(jnp.asarray(x), jnp.asarray(y)), axis=-1)
    values = np.asarray(jax.vmap(jax.vmap(problem.function))(points), float)
    finite = np.isfinite(values)
    if len(np.unique(values[finite])) < 2:
        return Landscape(x, y, np.zeros_like(values), np.empty(0))
    least = np.min(values[finite])
    if problem.minimum is not None:
        least = min(least, problem.minimum)
    height = np.where(finite, values - least, np.nan)
    low, middle, high = np.nanquantile(height, [0.002, 0.3, 1.0])
    if low > 0 and (high > WIDE * middle or middle > WIDE * low):
        levels = np.geomspace(low, high, LEVELS + 1)[:-1]
    else:
        levels = np.linspace(np.nanmin(height), high, LEVELS + 2)[1:-1]
    return Landscape(x, y, height, np.unique(levels))


def draw_landscape(axes: Any, land: Landscape, theme: Theme) -> None:
    """Draws it on matplotlib's axes: paler or darker by level, with a line at each."""
    if land.levels.size:
        draw_contours(axes, land, theme)
    axes.set(xlim=(land.x[0], land.x[-1]), ylim=(land.y[0], land.y[-1]))


def draw_contours(axes: Any, land: Landscape, theme: Theme) -> Any:
    """Draws areas between the levels, of which there is one at least, and lines at them.

    Returns:
        The lines, matplotlib's contours.
    """
    colors = heights(theme)(np.linspace(0, 1, len(land.levels) + 1))
    surface = (land.x, land.y, land.height, land.levels)
    axes.contourf(*surface, colors=colors, extend="both", zorder=0)
    return axes.contour(*surface, colors=theme.muted, linewidths=0.6, alpha=0.6, zorder=0.5)
