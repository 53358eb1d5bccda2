"""The options of ``fnopt animate``."""

from __future__ import annotations

import dataclasses
import math
import re
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import tyro

from fnopt.cli.options import option


def names_of(word: str) -> list[str]:
    """The names of a list with commas."""
    names = [name.strip() for name in word.split(",") if name.strip()]
    if not names:
        raise ValueError
    return names


def rates_of(word: str) -> Any:
    """The rates of ``tune``, of ``usual``, of a list, or of ``LOW:HIGH:logN``.

    >>> rates_of("0.01,0.1"), rates_of("1e-3:1:log4").tolist(), rates_of("usual")
    (array([0.01, 0.1 ]), [0.001, 0.01, 0.1, 1.0], None)
    """
    if word.lower() in ("tune", "usual"):
        return "tune" if word.lower() == "tune" else None
    if band := re.fullmatch(r"([^:]+):([^:]+):log(\d+)", word):
        low, high, number = float(band[1]), float(band[2]), int(band[3])
        if not (0 < low < high < math.inf and number > 1):
            raise ValueError
        return np.geomspace(low, high, number)
    return np.array([float(part) for part in word.split(",")])


def starts_of(word: str) -> Any:
    """The number of starts, or points.

    >>> starts_of("5"), starts_of("1,1"), starts_of("1,1:-2,0.5")
    (5, [[1.0, 1.0]], [[1.0, 1.0], [-2.0, 0.5]])
    """
    if "," not in word:
        if int(word) < 1:
            raise ValueError
        return int(word)
    points = [[float(part) for part in point.split(",")] for point in word.split(":")]
    if any(len(point) != 2 for point in points):
        raise ValueError
    return points


@dataclasses.dataclass(frozen=True)
class AnimateOptions:
    """Races optimizers on a function of two variables, and writes an animation of it.

    Args:
        problem: ackley, beale, himmelblau, ill_conditioned_quadratic, long_valley, matyas, plateau,
            rastrigin, rosenbrock or saddle.
        optimizers: any of those that `fnopt optimizers` lists, with commas between them; SGD with
            momentum is heavy_ball.
        learning_rates: tune takes for each optimizer the best of 16 rates from 1e-4 to 10, and
            usual the rate that is usual for it. With a list, such as 0.01,0.1, or so many rates on
            a logarithmic scale, such as 1e-3:1:log16, it takes the best of those.
        steps: number of steps.
        starts: where they start, a number of random points or points such as 1,1 or 1,1:-2,0.5.
        noise: standard deviation of noise on each number of a gradient.
        seed: seed of random starts and of noise.
        out: file to write; its suffix says what: .gif, .html (a page with a slider), .mp4 (needs
            ffmpeg) or .png (a picture of the end).
        theme: light or dark; a page follows its reader's browser by default.
        seconds: how long the animation takes.
    """

    problem: tyro.conf.Positional[
        Annotated[Any, *option("fnopt animate", "PROBLEM", default="beale")]
    ] = None
    optimizers: Annotated[
        Any,
        *option(
            "--optimizers",
            "NAMES",
            names_of,
            default="sgd,heavy_ball,rmsprop,adam",
            must_be="names of optimizers with commas between them",
        ),
    ] = None
    learning_rates: Annotated[
        Any,
        *option(
            "--learning-rates",
            "RATES",
            rates_of,
            default="tune",
            aliases=("--lr",),
            must_be="a rate, rates with commas between them, a band such as 1e-3:1:log16, tune or"
            " usual",
        ),
    ] = "tune"
    steps: Annotated[Any, *option("--steps", "N", int)] = 200
    starts: Annotated[
        Any,
        *option(
            "--starts",
            "N|POINTS",
            starts_of,
            default="that of the function",
            must_be="a number of starts, or points such as 1,1 or 1,1:-2,0.5",
        ),
    ] = None
    noise: Annotated[Any, *option("--noise", "NUMBER", float)] = 0.0
    seed: Annotated[Any, *option("--seed", "N", int)] = 0
    out: Annotated[Any, *option("--out", "FILE", Path, default="PROBLEM.gif")] = None
    theme: Annotated[
        Any, *option("--theme", "THEME", default="light", choices=("light", "dark"))
    ] = None
    seconds: Annotated[Any, *option("--seconds", "NUMBER", float)] = 6.0
