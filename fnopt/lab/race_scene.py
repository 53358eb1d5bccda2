"""The figure of a race: paths on the contours, losses beside them, up to any step."""

from __future__ import annotations

from typing import Any

import numpy as np

from fnopt.lab.ends import End
from fnopt.lab.labels import label_ends
from fnopt.lab.landscape import draw_landscape, landscape
from fnopt.lab.race_data import RaceData
from fnopt.lab.race_tracks import Track, inside, loss_range, title_of_losses, tracks
from fnopt.lab.style import style_axes, theme_of

SIZE = (8.0, 4.0)
"""Size of the figure in inches; at 100 pixels an inch it has the width of a README."""
RATES_HEIGHT = 1.0
"""Height that a panel of rates adds to it, in inches."""
SQUARE = 1.6
"""A domain whose sides differ by no larger factor is drawn with equal units."""


class Scene:
    """The figure of a race.

    Args:
        race: the race.
        theme: the theme's name.
        rates: whether the losses at the end are drawn against the rates, where there are several.
        fan: whether the paths and losses at all rates are drawn, faintly.

    Attributes:
        figure: matplotlib's figure.
        map: the axes of the paths.
        loss: the axes of the losses.
        paths: of each optimizer, a line for each start.
        curves: of each optimizer, the line of its loss, the median of the starts.
        minima: the stars at the minima.
        steps: the number of the last step.
    """

    def __init__(self, race: RaceData, theme: str, *, rates: bool, fan: bool) -> None:
        from fnopt.core.figure import ShownFigure

        self.problem, self.theme, self.tracks = race.problem, theme_of(theme), tracks(race)
        self.range, self.logarithmic = loss_range(race.problem, self.tracks)
        self.steps = self.tracks[0].losses.shape[-1] - 1
        several = [track for track in self.tracks if rates and len(track.losses) > 1]
        width, height = SIZE
        self.figure = ShownFigure(
            figsize=(width, height + RATES_HEIGHT * bool(several)), dpi=100, layout="constrained"
        )
        self.figure.set_facecolor(self.theme.background)
        ratios = [3, 2] if several else [1]
        grid = self.figure.add_gridspec(len(ratios), 2, height_ratios=ratios)
        self.map = self._panel(grid[:, 0], self.problem.name.replace("_", " "))
        self._draw_map()
        title = title_of_losses(race)
        self.loss = self._panel(grid[0, 1], title)
        self.loss.set(xlabel="step", xlim=(0, self.steps))
        self.loss.locator_params(axis="x", nbins=5)
        self._scale_losses(self.loss)
        if fan:
            self._draw_fan()
        self.paths = [self._lines(self.map, track, _paths(track)) for track in self.tracks]
        self.curves = [
            self._lines(self.loss, track, [self._curve(track.losses[track.best])])[0]
            for track in self.tracks
        ]
        if several:
            self._draw_rates(self._panel(grid[1, 1], f"after {self.steps} steps"), several)

    def _panel(self, place: Any, title: str) -> Any:
        axes: Any = self.figure.add_subplot(place)
        axes.set_title(title, size=10)
        axes.tick_params(labelsize=8.5)
        axes.xaxis.label.set_size(9)
        style_axes(axes, self.theme)
        return axes

    def _draw_map(self) -> None:
        draw_landscape(self.map, landscape(self.problem), self.theme)
        self.map.grid(False)
        (left, right), (bottom, top) = self.problem.domain
        if 1 / SQUARE <= (top - bottom) / (right - left) <= SQUARE:
            self.map.set_aspect("equal", anchor="N")
        ink, behind = self.theme.ink, self.theme.background
        for start in self.tracks[0].paths[0, :, 0]:
            self.map.plot(*start, "o", ms=6, mfc=behind, mec=ink, mew=1.4, zorder=6)
        self.minima = [
            self.map.plot(*minimum, "*", ms=11, mfc=ink, mec=behind, mew=0.8, zorder=8)[0]
            for minimum in self.problem.minima
        ]

    def _draw_fan(self) -> None:
        """Draws the rates at which no path leaves the domain; the others would hide the rest."""
        faint = {"alpha": 0.3, "lw": 0.8, "zorder": 1.5, "label": None}
        for track in self.tracks:
            stays = inside(self.problem, track.paths).all(axis=(1, 2))
            for rate in np.flatnonzero(stays):
                self._lines(self.map, track, list(track.paths[rate]), **faint)
                self._lines(self.loss, track, [self._curve(track.losses[rate])], **faint)

    def _draw_rates(self, axes: Any, drawn: list[Track]) -> None:
        for track in drawn:
            ends = np.clip(np.median(track.losses[:, :, -1], axis=1), *self.range)
            axes.plot(track.rates, ends, **track.style, lw=1.2, clip_on=False)
            (line,) = axes.plot(track.rates, ends, "o", ms=5, clip_on=False)
            line.set(color=track.style["color"], markevery=[track.best])
        axes.set(xlabel="learning rate", xscale="log")
        self._scale_losses(axes)

    def _scale_losses(self, axes: Any) -> None:
        axes.set(yscale="log" if self.logarithmic else "linear", ylim=self.range)

    def _curve(self, losses: np.ndarray) -> np.ndarray:
        """The line of losses of shape (starts, steps + 1): their median over the starts.

        Values below the axis are drawn along its edge.
        """
        curve = np.maximum(np.median(losses, axis=0), self.range[0])
        return np.stack([np.arange(self.steps + 1), curve], axis=-1)

    def _lines(self, axes: Any, track: Track, lines: list[np.ndarray], **style: Any) -> list[Any]:
        style = {"lw": 1.6, "zorder": 2 + track.rank, "label": track.name, **track.style, **style}
        return [axes.plot(*line.T, **style)[0] for line in lines]

    def label(self) -> None:
        """Writes the names at the ends of the losses; call it when all else is drawn."""
        lines = list(zip(self.tracks, self.curves, strict=True))
        lines.sort(key=lambda line: np.argmin(line[1].get_ydata()))  # the first one lowest
        ends = [
            End(track.name + track.note, self.steps, curve.get_ydata()[-1], track.style["color"])
            for track, curve in lines
        ]
        label_ends(self.loss, ends, self.theme)


def finite(path: np.ndarray) -> np.ndarray:
    """A path, shape (steps + 1, 2), up to where it is finite."""
    return path[np.logical_and.accumulate(np.isfinite(path).all(axis=1))]


def _paths(track: Track) -> list[np.ndarray]:
    return [finite(path) for path in track.paths[track.best]]
