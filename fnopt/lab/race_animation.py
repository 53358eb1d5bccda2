"""Animations of a race, GIF and MP4; imported only to write one, as it needs matplotlib."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.animation import FFMpegWriter
from matplotlib.backends.backend_agg import FigureCanvasAgg
from PIL import Image
from scipy.spatial.distance import cdist

from fnopt.lab.labels import MovingLabels
from fnopt.lab.race_data import RaceData
from fnopt.lab.race_scene import Scene
from fnopt.lab.race_tracks import Track

HOLD = 2.0
"""Seconds for which the last frame stays before a GIF begins again."""
KEPT = 48
"""Colours of a GIF that are kept as they are: the most frequent ones, those of areas."""


class Animation:
    """The frames of a race.

    What does not move is drawn once; only the lines and labels are drawn for each frame.

    Args:
        race: the race.
        theme: the theme's name.
        seconds: how long it takes from the first step to the last.
        fps: frames per second.
    """

    def __init__(self, race: RaceData, theme: str, seconds: float, fps: float) -> None:
        self.scene = scene = Scene(race, theme, rates=False, fan=False)
        frames = max(2, round(seconds * fps))
        steps = np.unique(np.round(np.linspace(0, scene.steps, frames)).astype(int))
        self.steps = [int(step) for step in steps]
        self._paths = [[line.get_xydata() for line in lines] for lines in scene.paths]
        self._curves = [curve.get_xydata() for curve in scene.curves]
        self._heads = [
            self._head(axes, track) for axes in (scene.map, scene.loss) for track in scene.tracks
        ]
        colors = [track.style["color"] for track in scene.tracks]
        texts = [track.name + track.note for track in scene.tracks]
        self._labels = MovingLabels(scene.loss, texts, colors, scene.theme)
        moving = [line for lines in scene.paths for line in lines]
        moving += [*scene.curves, *self._heads, *scene.minima, *self._labels.artists]
        self._moving = sorted(moving, key=lambda artist: artist.get_zorder())
        for artist in moving:
            artist.set_animated(True)

    def _head(self, axes: Any, track: Track) -> Any:
        (head,) = axes.plot([], [], "o", color=track.style["color"], ms=6)
        head.set(mec=self.scene.theme.background, mew=0.8)
        head.set(zorder=7 + track.rank, in_layout=False)
        head.set_clip_on(axes is self.scene.map)
        return head

    def frames(self) -> Iterator[np.ndarray]:
        """The frames, one after another: RGB, shape (height, width, 3), uint8."""
        canvas: Any = FigureCanvasAgg(self.scene.figure)
        canvas.draw()
        background = canvas.copy_from_bbox(self.scene.figure.bbox)
        for step in self.steps:
            canvas.restore_region(background)
            self.show(step)
            for artist in self._moving:
                artist.axes.draw_artist(artist)
            yield np.array(canvas.buffer_rgba())[..., :3]

    def show(self, step: int) -> None:
        """Moves lines, their heads and labels to a step."""
        scene, heads = self.scene, iter(self._heads)
        for lines, paths in zip(scene.paths, self._paths, strict=True):
            for line, path in zip(lines, paths, strict=True):
                line.set_data(*path[: step + 1].T)
            ends = [path[step] for path in paths if len(path) > step]
            next(heads).set_data(*np.reshape(ends, (-1, 2)).T)
        low, high = scene.range
        points = []
        for track, line, curve, label in zip(
            scene.tracks, scene.curves, self._curves, self._labels.artists, strict=True
        ):
            above = curve[step, 1] > high
            line.set_data(*curve[: step + 1].T)
            next(heads).set_data(*curve[step : step + 1 - above].T)
            label.set_text(track.name + track.note * bool(above))
            points.append((step, np.clip(curve[step, 1], low, high)))
        self._labels.move(points)


def write_gif(race: RaceData, path: Path, theme: str, seconds: float, fps: float) -> None:
    """Writes an animation that repeats, with the colours of its last frame."""
    frames = [_packed(frame) for frame in Animation(race, theme, seconds, fps).frames()]
    palette = _palette(frames[-1])
    # The index of each colour, computed when it first appears.
    index = np.full(1 << 24, len(palette), np.uint8)
    images = []
    for frame in frames:
        new = np.unique(frame[index[frame] == len(palette)])
        index[new] = np.argmin(cdist(_unpacked(new), palette, "sqeuclidean"), axis=1)
        image = Image.fromarray(index[frame])
        image.putpalette(palette.tobytes())
        images.append(image)
    between = round(100 * seconds / len(frames)) * 10  # a GIF counts hundredths of a second
    durations = [between] * (len(frames) - 1) + [round(1000 * HOLD)]
    images[0].save(
        path, save_all=True, append_images=images[1:], duration=durations, loop=0, optimize=True
    )


def _palette(frame: np.ndarray) -> np.ndarray:
    """The colours for an animation that ends with a frame, shape (at most 255, 3), uint8.

    They are the frame's most frequent ones, and a choice of the others that is as diverse as they
    are. One index of the 256 is left for what does not change between frames.
    """
    colors, counts = np.unique(frame, return_counts=True)
    colors = _unpacked(colors[np.argsort(-counts, kind="stable")])
    if len(colors) <= 255:
        return colors
    rest = Image.fromarray(colors[None, KEPT:]).quantize(255 - KEPT, Image.Quantize.MEDIANCUT)
    mixed = np.reshape(rest.getpalette() or [], (-1, 3))
    return np.concatenate([colors[:KEPT], mixed]).astype(np.uint8)[:255]


def _packed(frame: np.ndarray) -> np.ndarray:
    """Colours, shape (..., 3), as numbers."""
    red, green, blue = np.moveaxis(frame.astype(np.int32), -1, 0)
    return red << 16 | green << 8 | blue


def _unpacked(colors: np.ndarray) -> np.ndarray:
    return np.stack([colors >> 16, colors >> 8 & 255, colors & 255], axis=-1).astype(np.uint8)


def write_mp4(race: RaceData, path: Path, theme: str, seconds: float, fps: float) -> None:
    """Writes a video with ffmpeg."""
    animation = Animation(race, theme, seconds, fps)
    figure = animation.scene.figure
    writer = FFMpegWriter(fps=len(animation.steps) / seconds, codec="h264")  # pyright: ignore
    with writer.saving(figure, str(path), dpi=2 * figure.dpi):
        for step in animation.steps:
            animation.show(step)
            writer.grab_frame(facecolor=figure.get_facecolor())
