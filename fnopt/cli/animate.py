"""``fnopt animate``: a race of optimizers, its table and its animation."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path

from fnopt.cli.animate_options import AnimateOptions
from fnopt.cli.optimizer import check_known
from fnopt.cli.usage import UsageError, no_such
from fnopt.lab import noisy, problems, race
from fnopt.lab.race_pictures import check_animation

OPTIMIZERS = ["sgd", "heavy_ball", "rmsprop", "adam"]


def animate(options: AnimateOptions) -> None:
    """Races, prints the table of how each optimizer ended, and writes the animation.

    Raises:
        UsageError: there is no problem or no optimizer of a name, or the file cannot be written.
        ValueError, TypeError: an option is out of its range, or an optimizer needs arguments.
        RuntimeError: ffmpeg is needed and not installed.
    """
    known, name = problems(), options.problem or "beale"
    if name not in known:
        raise no_such("there is no problem", name, known, "fnopt animate --help")
    names = options.optimizers or OPTIMIZERS
    for optimizer in names:
        check_known(optimizer)
    out = options.out or Path(f"{name}.gif")
    check_animation(out, options.theme, options.seconds)  # before the work, not after it
    _check_writable(out)
    with _shown(f"racing {len(names)} optimizers"):
        result = race(
            names,
            noisy(known[name], options.noise),
            starts=options.starts,
            steps=options.steps,
            learning_rates=options.learning_rates,
            key=options.seed,
        )
    print(result, flush=True)
    with _shown(f"drawing {out}"):
        result.animate(out, theme=options.theme, seconds=options.seconds)
    print(f"picture: {out}, {out.stat().st_size / 1e6:.2f} MB")


def _check_writable(out: Path) -> None:
    """Checks that a file can be written, and makes no folder."""
    if out.is_dir():
        raise UsageError(f"--out: {out} is a folder; name a file, as {out / 'race.gif'}")
    folder = next(folder for folder in out.absolute().parents if os.path.lexists(folder))
    if not folder.is_dir():
        raise UsageError(f"--out: {folder} is no folder, so that {out} cannot be written")
    unwritable = folder if not out.exists() else out
    if not os.access(folder, os.X_OK) or not os.access(unwritable, os.W_OK):
        raise UsageError(f"--out: no permission to write {out}; name a file in a folder of yours")


@contextlib.contextmanager
def _shown(work: str) -> Iterator[None]:
    """On a terminal, says what is being done while it is."""
    if not sys.stderr.isatty():
        yield
        return
    from rich.console import Console

    with Console(stderr=True).status(work):
        yield
