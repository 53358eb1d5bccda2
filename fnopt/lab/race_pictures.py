"""Pictures and animations of a race, by the suffix of their file."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Any

from fnopt.core.checks import brief
from fnopt.lab.race_data import RaceData
from fnopt.lab.style import theme_of

DPI = 200
"""Pixels per inch of a PNG: twice those of a README, for sharp screens."""
SUFFIXES = (".gif", ".html", ".mp4", ".png")


def plot(race: RaceData, path: str | os.PathLike | None, theme: str, fan: bool) -> Any:
    """The picture of a race; see :meth:`fnopt.lab.Race.plot`."""
    from fnopt.lab.race_scene import Scene

    scene = Scene(race, theme, rates=True, fan=fan)
    scene.label()
    if path is not None:
        from fnopt.core.figure import save

        save(scene.figure, path, DPI)
    return scene.figure


def animate(
    race: RaceData, path: str | os.PathLike, theme: str | None, seconds: float, fps: float
) -> None:
    """Writes an animation of a race; see :meth:`fnopt.lab.Race.animate`."""
    path = Path(path)
    check_animation(path, theme, seconds, fps)
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix.lower() == ".html":
        from fnopt.lab.race_page import write_page

        write_page(race, path, theme, seconds)
    elif path.suffix.lower() == ".png":
        plot(race, path, theme or "light", fan=False)
    else:
        from fnopt.lab.race_animation import write_gif, write_mp4

        write = write_gif if path.suffix.lower() == ".gif" else write_mp4
        write(race, path, theme or "light", seconds, fps)


def check_animation(path: Path, theme: str | None, seconds: float, fps: float = 20.0) -> None:
    """Checks the arguments of :meth:`fnopt.lab.Race.animate`.

    Raises:
        ValueError: the suffix or the theme is not one of those named, or a number out of range.
        RuntimeError: ffmpeg is needed and not installed.
        ImportError: matplotlib is not installed.
    """
    import fnopt.core.figure  # noqa: F401  # raises the error that says what to install

    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise ValueError(
            f"animate: the path must end in {', '.join(SUFFIXES[:-1])} or {SUFFIXES[-1]}, got"
            f" {brief(str(path))}"
        )
    theme_of(theme or "light")
    if not 0 < seconds < math.inf:
        raise ValueError(f"animate: seconds must lie in (0, inf), got {brief(seconds)}")
    if not 0 < fps <= 50:
        raise ValueError(f"animate: fps must lie in (0, 50], got {brief(fps)}")
    if suffix == ".mp4":
        from matplotlib.animation import FFMpegWriter

        if not FFMpegWriter.isAvailable():
            raise RuntimeError(
                f"animate: {path.name} needs ffmpeg, which is not installed; install it, as by apt"
                " install ffmpeg or conda install ffmpeg, or write a .gif or .html file"
            )
