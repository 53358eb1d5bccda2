"""The race on the first screen of README: optimizers in a long valley, each at its best rate.

``python examples/race/race.py`` writes ``race_light.gif`` and ``race_dark.gif`` into
``docs/pictures``.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from fnopt.lab import long_valley, race

PICTURES = Path(__file__).parents[2] / "docs" / "pictures"
OPTIMIZERS = ["sgd", "heavy_ball", "rmsprop", "adam", "lbfgs"]


def main(out: Path = PICTURES, steps: int = 80, seconds: float = 8.0) -> None:
    """Writes both animations.

    Args:
        out: folder that they are written into.
        steps: number of steps of each optimizer.
        seconds: length of an animation.
    """
    contest = race(OPTIMIZERS, long_valley, steps=steps, learning_rates="tune")
    for theme in ("light", "dark"):
        contest.animate(out / f"race_{theme}.gif", theme=theme, seconds=seconds, fps=15)
    print(contest)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=PICTURES, help="folder for the animations")
    parser.add_argument("--steps", type=int, default=80, help="of each optimizer")
    options = parser.parse_args()
    main(options.out, options.steps)
