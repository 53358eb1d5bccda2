"""One line that says how far a run is, composed of the parts that fit a width."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

GAP = "  "
BAR_WIDTH = 16


class Part(NamedTuple):
    """A part of a line. It is shown whole or not at all.

    Attributes:
        name: what it is, the same in each line.
        text: the text to show.
        rank: the lower, the more important.
    """

    name: str
    text: str
    rank: int


@dataclasses.dataclass(frozen=True)
class Status:
    """How far a run is.

    Attributes:
        epoch: number of the current epoch, 1 for the first.
        epochs: number of the last epoch of the run.
        step: steps done.
        steps: steps of the whole run; None if not known.
        metrics: metrics of the training steps, by name.
        evaluation: metrics of the last evaluation, by name.
        speed: steps per second; 0 if not known.
        seconds_left: seconds to the end of the run; None if not known.
        phase: the work in progress other than steps, such as ``"compiling"``; "" for none.
        phase_seconds: seconds since it began.
    """

    epoch: int
    epochs: int
    step: int = 0
    steps: int | None = None
    metrics: dict[str, float] = dataclasses.field(default_factory=dict)
    evaluation: dict[str, float] = dataclasses.field(default_factory=dict)
    speed: float = 0.0
    seconds_left: float | None = None
    phase: str = ""
    phase_seconds: float = 0.0


def running_line(status: Status, bar: bool = True) -> list[Part]:
    """The parts of the line about a run in progress.

    Args:
        status: how far it is.
        bar: whether a bar stands for the number of steps, where the steps of the run are known.
    """
    parts = [_epoch(status.epoch, status.epochs)]
    if bar and status.steps:
        parts.append(Part("bar", _bar(status.step / status.steps), 5))
    else:
        of = f"/{status.steps:,}" if status.steps else ""
        parts.append(Part("step", f"step {status.step:,}{of}", 5))
    if status.phase:
        waited = f" {duration(int(status.phase_seconds))}" if status.phase_seconds >= 1 else ""
        parts.append(Part("phase", status.phase + waited, 2))
    elif status.seconds_left is not None:
        parts.append(Part("left", f"{_clock(status.seconds_left)} left", 6))
    if status.metrics:
        parts += _metrics(status.metrics, status.evaluation)
    if status.speed and not status.phase:
        speed = f"{status.speed:,.0f}" if status.speed >= 10 else f"{status.speed:.2g}"
        parts.append(Part("speed", f"{speed} steps/s", 9))
    return parts


def epoch_line(
    epoch: int,
    epochs: int,
    metrics: dict[str, float],
    evaluation: dict[str, float],
    seconds: float,
) -> list[Part]:
    """The parts of the line that an epoch leaves.

    Args:
        epoch: its number, 1 for the first.
        epochs: number of the last epoch of the run.
        metrics: metrics of its steps, by name.
        evaluation: metrics of the last evaluation, by name.
        seconds: seconds that its steps took.
    """
    parts = [_epoch(epoch, epochs), *_metrics(metrics, evaluation)]
    return [*parts, Part("seconds", duration(seconds), 6)]


def fitting(parts: Sequence[Part], width: int, measure: Callable[[str], int] = len) -> list[Part]:
    """The most important of the parts that fit one line together, in their order.

    Args:
        parts: parts of a line.
        width: columns of the line.
        measure: gives the columns of a text.
    """
    chosen: set[int] = set()
    left = width + len(GAP)
    for i in sorted(range(len(parts)), key=lambda i: parts[i].rank):
        columns = len(GAP) + measure(parts[i].text)
        if columns <= left:
            chosen.add(i)
            left -= columns
    return [part for i, part in enumerate(parts) if i in chosen]


def joined(parts: Iterable[Part]) -> str:
    """The text of a line."""
    return GAP.join(part.text for part in parts)


def number(x: float) -> str:
    """A number, most often in six columns: ``0.1234``, ``12.345``, ``0.00123``, ``1.23e-05``."""
    if 0.01 <= abs(x) < 1e6:
        digits = max(1, math.floor(math.log10(abs(x))) + 1)  # before the point
        return f"{x:.{max(0, 5 - digits)}f}"
    return f"{x:.3g}"


def duration(seconds: float) -> str:
    """A time in at most two units: ``0.031 s``, ``2.5 s``, ``2 min 5 s``, ``3 h 20 min``."""
    if 0 < seconds < 1:
        return f"{seconds:.2g} s"
    if seconds < 59.95:
        return f"{seconds} s" if isinstance(seconds, int) else f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60} h {minutes % 60} min"


def _epoch(epoch: int, epochs: int) -> Part:
    return Part("epoch", f"epoch {epoch:>{len(str(epochs))}}/{epochs}", 0)


def _bar(share: float) -> str:
    filled = int(BAR_WIDTH * min(1.0, share))
    return "━" * filled + "─" * (BAR_WIDTH - filled)


def _clock(seconds: float) -> str:
    """``0:12``, ``1:02:03``."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def _metrics(metrics: dict[str, float], evaluation: dict[str, float]) -> list[Part]:
    """A part for each metric, by its name in the history; the learning rate comes last."""
    own = dict(metrics)
    loss, rate = own.pop("loss"), own.pop("learning_rate", None)
    parts = [Part("loss", f"loss {number(loss)}", 1)]
    parts += [Part(name, f"{name} {number(x)}", 7) for name, x in own.items()]
    # A loss of the evaluation says less than an accuracy.
    parts += [
        Part(name, f"{name} {number(x)}", 4 if name.endswith("_loss") else 3)
        for name, x in evaluation.items()
    ]
    if rate is not None:
        parts.append(Part("learning_rate", f"rate {rate:.3g}", 8))
    return parts
