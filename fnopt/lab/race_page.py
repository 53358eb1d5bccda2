"""A race as one page of HTML, which needs no network and no library."""

from __future__ import annotations

import base64
import html
import importlib.resources
import itertools
import json
from pathlib import Path
from typing import Any

import numpy as np
from contourpy import FillType, contour_generator
from matplotlib.colors import to_hex

from fnopt.lab.landscape import Landscape, landscape
from fnopt.lab.race_data import RaceData
from fnopt.lab.race_tracks import (
    Track,
    diverged,
    inside,
    loss_range,
    outside,
    title_of_losses,
    tracks,
)
from fnopt.lab.style import THEMES, Theme, height_colors, text_color

UNIT = 1000
"""Side of the square on which contours are drawn."""


def write_page(race: RaceData, path: Path, theme: str | None, seconds: float) -> None:
    """Writes the page of a race; see :meth:`fnopt.lab.Race.animate`."""
    template = importlib.resources.files("fnopt.lab").joinpath("race_page.html").read_text("utf-8")
    title = html.escape(f"Optimizers on {race.problem.name.replace('_', ' ')}")
    data = json.dumps(page_data(race, theme, seconds), allow_nan=False, separators=(",", ":"))
    page = template.replace("TITLE", title).replace("DATA", data.replace("</", "<\\/"))
    path.write_text(page, "utf-8", newline="\n")


def page_data(race: RaceData, theme: str | None, seconds: float) -> dict[str, Any]:
    """The data of the page; arrays are float32 in base64, row after row.

    Args:
        race: the race.
        theme: the theme's name; None for what the reader of the page has chosen.
        seconds: time from the first step to the last.
    """
    problem, drawn = race.problem, tracks(race)
    limits, logarithmic = loss_range(problem, drawn)
    land = landscape(problem)
    fills, lines = _contours(land)
    return {
        "title": problem.name.replace("_", " "),
        "what": title_of_losses(race),
        "theme": theme,
        "seconds": seconds,
        "steps": drawn[0].losses.shape[-1] - 1,
        "domain": problem.domain,
        "minima": problem.minima,
        "starts": drawn[0].paths[0, :, 0].tolist(),
        "range": limits,
        "logarithmic": logarithmic,
        "themes": {name: _theme(name, colors, len(fills)) for name, colors in THEMES.items()},
        "unit": UNIT,
        "fills": fills,
        "lines": lines,
        "tracks": [_track(race, track) for track in drawn],
    }


def _track(race: RaceData, track: Track) -> dict[str, Any]:
    style = track.style["linestyle"]
    return {
        "name": track.name,
        "rank": track.rank,
        "color": track.style["color"],
        "text": {name: text_color(track.style["color"], theme) for name, theme in THEMES.items()},
        "dash": [2 * part for part in style[1]] if isinstance(style, tuple) else [],
        "rates": None if track.rates is None else track.rates.tolist(),
        "best": track.best,
        "diverged": diverged(race.problem, track.paths, track.losses).all(axis=1).tolist(),
        "outside": outside(race.problem, track.paths).tolist(),
        "stays": inside(race.problem, track.paths).all(axis=(1, 2)).tolist(),
        "paths": _base64(track.paths),
        "losses": _base64(track.losses),
    }


def _base64(array: np.ndarray) -> str:
    with np.errstate(over="ignore"):
        return base64.b64encode(array.astype("<f4").tobytes()).decode("ascii")


def _theme(name: str, theme: Theme, levels: int) -> dict[str, Any]:
    colors = height_colors(theme)(np.linspace(0, 1, levels))
    return {"name": name, **theme._asdict(), "levels": [to_hex(color) for color in colors]}


def _contours(land: Landscape) -> tuple[list[str], list[str]]:
    """The areas between levels and the lines at them, as paths of SVG on a square of ``UNIT``."""
    x = UNIT * (land.x - land.x[0]) / (land.x[-1] - land.x[0])
    y = UNIT * (land.y[-1] - land.y) / (land.y[-1] - land.y[0])
    generator = contour_generator(x, y, land.height, fill_type=FillType.OuterOffset)
    fills = []
    for low, high in itertools.pairwise([-np.inf, *land.levels, np.inf]):
        shapes = zip(*generator.filled(low, high), strict=True)
        parts = [part for points, offsets in shapes for part in np.split(points, offsets[1:-1])]
        fills.append("".join(map(_path, parts)))
    return fills, ["".join(map(_path, generator.lines(level))) for level in land.levels.tolist()]


def _path(points: Any) -> str:
    return "M" + "L".join(f"{x:.0f} {y:.0f}" for x, y in points)
