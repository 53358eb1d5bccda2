"""Paths of runs in a plane, with the loss around them."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from fnopt.core.checks import one_of, positive_integer
from fnopt.core.types import Params
from fnopt.lab.ends import End
from fnopt.lab.filters import filter_normalized_directions
from fnopt.lab.flat import Layout, vector_of
from fnopt.lab.labels import label_ends
from fnopt.lab.landscape import Landscape, draw_contours
from fnopt.lab.plane import Plane, plane_along, principal_plane
from fnopt.lab.style import Theme, line_styles, style_axes, theme_of
from fnopt.train.evaluation_on import evaluation_on

LEVELS = 14
"""Number of levels of the loss; every second one is labelled."""
DIRECTIONS = ("principal", "random")


def plot_path(
    recorders: Mapping[str, Any],
    objective: Any,
    data: Any,
    *,
    directions: str = "principal",
    key: Any = 0,
    resolution: int = 41,
    chunk: int = 16,
    train: bool = False,
    title: str = "",
    theme: str = "light",
    path: str | os.PathLike | None = None,
) -> Any:
    r"""Draws the paths of runs in one plane, with contours of the loss in that plane.

    The plane has the points

    .. math:: \theta(x, y) = \bar\theta + x\,d_1 + y\,d_2,

    with :math:`\bar\theta` the mean of the paths' last points (of one run its end). Principal
    directions are the first two right singular vectors of the matrix whose rows are all points
    minus their mean. Paths are projected on the plane at right angles, so the contours are the loss
    in the plane and not along the paths. The axes say which share of the paths' variance lies along
    each direction. The number at the end of a path is the loss there.

    The loss is computed at each point of a grid: ``resolution ** 2`` forward passes over the data.

    Args:
        recorders: a dict from labels to :class:`PathRecorder`; the runs must be of one model.
        objective: the objective that was minimized.
        data: the data on which the loss is computed, a tree of arrays with examples along the first
            axis: those of training, or a part of them.
        directions: ``"principal"`` for the first two principal directions of all paths;
            ``"random"`` for two random ones, normalized filter by filter
            (:func:`filter_normalized_directions`), in whose units the grid goes from -1 to 1 at
            least. In a space of many dimensions a path hardly moves along random directions.
        key: a PRNG key, or an integer to make one, for random directions.
        resolution: the number of points of the grid along each axis, 2 or more.
        chunk: the number of points of the grid that are computed at once, each with parameters and
            activations of its own.
        train: whether the model computes as in training, with dropout and the statistics of the
            data; otherwise as in evaluation, with the running statistics at the end of the first
            run.
        title: title above it.
        theme: ``"light"`` or ``"dark"``.
        path: path of the picture; not saved if None.

    Returns:
        The figure, which a notebook shows.

    Raises:
        ImportError: matplotlib is not installed.
        ValueError: nothing is recorded, the models differ, an option is out of its range, or the
            paths have no directions.

    References:
        Lorch, *Visualizing deep network training trajectories with PCA*, ICML 2016 workshop;
        Li, Xu, Taylor, Studer & Goldstein, *Visualizing the loss landscape of neural nets*,
        NeurIPS 2018, arXiv:1712.09913.
    """
    one_of("plot_path: directions", directions, DIRECTIONS)
    colors, resolution = theme_of(theme), positive_integer("plot_path: resolution", resolution)
    chunk = positive_integer("plot_path: chunk", chunk)
    first = _first(recorders)
    layout = first.layout
    paths = {label: np.stack(recorder.points) for label, recorder in recorders.items()}
    plane = _plane(list(paths.values()), directions, objective, layout, first.state, data, key)
    at = {label: plane.coordinates(points) for label, points in paths.items()}
    x, y = _grid(np.concatenate(list(at.values())), directions, max(2, resolution))
    value: Any = evaluation_on(objective, first.state, data, train=train).value
    losses = loss_in_plane(value, layout, plane, x, y, chunk=chunk)

    from fnopt.core.figure import ShownFigure, save
    from fnopt.core.ticks import number_ticks

    figure = ShownFigure(figsize=(7.2, 4.8), layout="constrained")
    axes = figure.subplots()
    style_axes(axes, colors)
    axes.grid(visible=False)
    _draw_contours(axes, x, y, losses, colors)
    ends = []
    for (label, points), style in zip(at.items(), line_styles(len(at)), strict=True):
        end = float(jax.jit(value)(layout.tree(paths[label][-1])))
        start, last = points[0], points[-1]
        axes.plot(points[:, 0], points[:, 1], **style, marker=".", markersize=4)
        axes.plot(*start, "o", color=style["color"], markersize=8, mfc=colors.background, mew=2)
        axes.plot(*last, "o", color=style["color"], markersize=8)
        text = f"{label}: loss {end:.3g}" if label else f"loss {end:.3g}"
        ends.append(End(text, last[0], last[1], style["color"]))
    kind = "principal" if directions == "principal" else "random"
    for number, share in enumerate(plane.shares):
        text = f"{kind} direction {number + 1} ({_percent(share)} of the variance)"
        axes.set(**{("xlabel", "ylabel")[number]: text})
        number_ticks((axes.xaxis, axes.yaxis)[number], 0, 1, logarithmic=False)
    axes.set_title(title)
    label_ends(axes, ends, colors)
    if path is not None:
        save(figure, path, 120)
    return figure


def loss_in_plane(
    value: Callable[[Params], jax.Array],
    layout: Layout,
    plane: Plane,
    x: np.ndarray,
    y: np.ndarray,
    *,
    chunk: int = 16,
) -> np.ndarray:
    """The values of a function of the parameters on a grid in a plane.

    Args:
        value: the function, which returns a scalar.
        layout: where the leaves of the parameters lie in the plane's vectors.
        plane: the plane.
        x: places along the first direction, shape (columns,).
        y: places along the second direction, shape (rows,).
        chunk: the number of points that are computed at once.

    Returns:
        The values, shape (rows, columns).
    """

    @jax.jit
    def values(places: jax.Array, origin: jax.Array, directions: jax.Array) -> jax.Array:
        def at(place: jax.Array) -> jax.Array:
            return value(layout.tree(origin + place @ directions))

        return jax.lax.map(at, places, batch_size=min(chunk, len(places)))

    places = np.stack(np.meshgrid(x, y), -1).reshape(-1, 2)
    origin = jnp.asarray(plane.origin)
    directions = jnp.asarray(plane.directions, origin.dtype)
    losses = values(jnp.asarray(places, origin.dtype), origin, directions)
    return np.asarray(losses, float).reshape(len(y), len(x))


def _draw_contours(
    axes: Any, x: np.ndarray, y: np.ndarray, losses: np.ndarray, theme: Theme
) -> None:
    """Contours with their numbers; on a logarithmic scale where losses differ much."""
    finite = losses[np.isfinite(losses)]
    if finite.size < 4 or not finite.max() > finite.min():
        return  # a level plane has no contours
    low, high = finite.min(), finite.max()
    if low > 0 and high / low > 5:
        levels = np.geomspace(low, high, LEVELS)
    else:
        levels = np.linspace(low, high, LEVELS)
    lines = draw_contours(axes, Landscape(x, y, losses, levels[1:-1]), theme)
    numbers = {"fontsize": 7, "colors": theme.ink, "fmt": lambda level: f"{level:.2g}"}
    axes.clabel(lines, lines.levels[::2], **numbers)


def _percent(share: float) -> str:
    """A share in percent with two digits, near 100 with three."""
    percent = 100 * share
    return f"{percent:.2g} %" if percent < 99.5 else f"{percent:.3g} %"


def _first(recorders: Mapping[str, Any]) -> Any:
    """The first recorder; all are of one model."""
    if not recorders:
        raise ValueError("plot_path: there are no recorders; give a dict from labels to them")
    layouts = {label: recorder.layout for label, recorder in recorders.items()}
    label, first = next(iter(layouts.items()))
    for other, layout in layouts.items():
        if first is None or layout is None:
            raise ValueError(
                f"plot_path: nothing is recorded yet in {other!r}; a recorder records in a run,"
                " fit(…, callbacks=[recorder])"
            )
        if (layout.paths, layout.shapes) != (first.paths, first.shapes):
            raise ValueError(
                f"plot_path: the model of {other!r} is not that of {label!r}; only"
                " parameters of the same names and shapes lie in one plane"
            )
    return recorders[label]


def _plane(
    paths: list[np.ndarray],
    directions: str,
    objective: Any,
    layout: Layout,
    state: Any,
    data: Any,
    key: Any,
) -> Plane:
    if directions == "principal":
        return principal_plane(paths)
    origin = layout.tree(np.mean([points[-1] for points in paths], 0))
    two = filter_normalized_directions(objective, origin, data, key, model_state=state.model_state)
    return plane_along(paths, np.stack([vector_of(one) for one in two]))


def _grid(points: np.ndarray, directions: str, resolution: int) -> tuple[np.ndarray, np.ndarray]:
    """Places along both axes: around the paths with room, the shorter way not much enlarged."""
    low, high = points.min(0), points.max(0)
    middle, half = (low + high) / 2, (high - low) / 2
    half = 1.25 * np.maximum(half, 0.3 * half.max())
    low, high = middle - half, middle + half
    if directions == "random":
        low, high = np.minimum(low, -1), np.maximum(high, 1)
    x, y = np.linspace(low, high, resolution).T
    return x, y
