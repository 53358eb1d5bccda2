"""The result of a race: its data, and pictures of it."""

from __future__ import annotations

import dataclasses
import os
from typing import Any

from fnopt.lab.race_data import RaceData


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Race(RaceData):
    """Paths of optimizers on one problem; it prints as a table of how each ended.

    A row of the table is of an optimizer at the best of its rates. Its columns:

    * ``rate``: that rate; - where the optimizer diverged at all of several rates.
    * ``last value``: the function after the last step, or "diverged" where that is not finite.
    * ``distance``: from the last point to the nearest of the minima, where these are known.
    * ``steps to 1%``: the first step at which the height above the minimum is at most 1% of that of
      the start, even if it is larger again later; - where there is none. Where a value lies below
      the minimum that the problem states, heights are above the smallest value.

    With several starts, all of these are medians over them, in which a run that diverged counts as
    the worst.

    Attributes:
        problem: the problem.
        entrants: what each optimizer did.
        programs: number of compiled programs that it ran, one for each structure.
    """

    def plot(
        self, path: str | os.PathLike | None = None, *, theme: str = "light", fan: bool = False
    ) -> Any:
        """Draws the paths on the function's contours, and beside them the losses.

        Each optimizer is drawn at the best of its rates. Where there are several, a panel shows the
        loss after the last step at each of them. With several starts, losses are the median. Where
        the minimum is known, their scale is logarithmic and goes down to nine powers of ten below
        the start at most; what is lower runs along the edge.

        A path that leaves the domain is cut there. An optimizer that ended outside, higher than it
        began, or at a value that is not finite, is labelled as diverged; one that was never in the
        domain as outside.

        Args:
            path: path of a picture, such as ``"race.png"``; not saved if None.
            theme: ``"light"`` or ``"dark"``.
            fan: whether paths and losses at all rates are drawn as well, faintly, except those that
                leave the domain.

        Returns:
            The matplotlib figure, which a notebook shows.

        Raises:
            ValueError: there is no such theme.
            ImportError: matplotlib is not installed.
        """
        from fnopt.lab.race_pictures import plot

        return plot(self, path, theme, fan)

    def animate(
        self,
        path: str | os.PathLike,
        *,
        theme: str | None = None,
        seconds: float = 6.0,
        fps: float = 20.0,
    ) -> None:
        """Writes an animation of the race, in the format that the suffix of the path names.

        Args:
            path: path of the file: .gif; .mp4, which needs ffmpeg; .html, a page that needs no
                network, with a slider for the step, and one for the rate where there are several;
                or .png, a picture of the end, as :meth:`plot` draws it.
            theme: ``"light"`` or ``"dark"``; by default light, and for a page the theme of its
                reader's browser.
            seconds: time from the first step to the last, in seconds.
            fps: frames per second of .gif and .mp4, in (0, 50].

        Raises:
            ValueError: the suffix or the theme is not one of those named, or a number out of range.
            RuntimeError: ffmpeg is needed and not installed.
            ImportError: matplotlib is not installed.
        """
        from fnopt.lab.race_pictures import animate

        animate(self, path, theme, seconds, fps)
