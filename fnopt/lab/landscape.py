"""A function of two variables over a rectangle, and levels for its contours."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from fnopt.lab.problem import Problem
from fnopt.lab.style import Theme, height_colors

POINTS = 161
"""Points of the grid along each axis."""
LEVELS = 14
"""Number of contours."""
WIDE = 50.0
"""Levels are spaced on a logarithmic scale where two heights have at least this ratio."""


class Landscape(NamedTuple):
    """The heights of a function on a grid, and the levels of its contours.

    Attributes:
        x: horizontal places of the grid, shape (points,).
        y: vertical places, shape (points,).
        height: the function minus its minimum, shape (points of y, points of x); minus its smallest
            value in the rectangle, where that is smaller or no minimum is known.
        levels: the heights of the contours, increasing; empty where all heights are the same, or
            none is finite.
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
    smallest = np.min(values[finite])
    if problem.minimum is not None:
        smallest = min(smallest, problem.minimum)
    height = np.where(finite, values - smallest, np.nan)
    low, middle, high = np.nanquantile(height, [0.002, 0.3, 1.0])
    if low > 0 and (high > WIDE * middle or middle > WIDE * low):
        levels = np.geomspace(low, high, LEVELS + 1)[:-1]
    else:
        levels = np.linspace(np.nanmin(height), high, LEVELS + 2)[1:-1]
    return Landscape(x, y, height, np.unique(levels))


def draw_landscape(axes: Any, land: Landscape, theme: Theme) -> None:
    """Draws a landscape on matplotlib's axes: shades between the levels, and a line at each."""
    if land.levels.size:
        draw_contours(axes, land, theme)
    axes.set(xlim=(land.x[0], land.x[-1]), ylim=(land.y[0], land.y[-1]))


def draw_contours(axes: Any, land: Landscape, theme: Theme) -> Any:
    """Draws areas between the levels, of which there is one at least, and lines at them.

    Returns:
        The lines, matplotlib's contours.
    """
    colors = height_colors(theme)(np.linspace(0, 1, len(land.levels) + 1))
    surface = (land.x, land.y, land.height, land.levels)
    axes.contourf(*surface, colors=colors, extend="both", zorder=0)
    return axes.contour(*surface, colors=theme.muted, linewidths=0.6, alpha=0.6, zorder=0.5)
