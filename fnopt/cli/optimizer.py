"""Optimizers and schedules by the names that the command line has for them."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from typing import Any

import fnopt
from fnopt.cli.usage import UsageError, no_such
from fnopt.core import did_you_mean
from fnopt.registry import USUAL_RATE

SCHEDULES: dict[str, Callable[[float, int], Any]] = {
    "constant": lambda rate, steps: rate,
    "linear": lambda rate, steps: fnopt.linear_schedule(rate, 0.0, steps),
    "cosine": lambda rate, steps: fnopt.cosine_decay_schedule(rate, steps),
    "warmup_cosine": lambda rate, steps: fnopt.warmup_cosine_decay_schedule(
        0.0, rate, steps // 10, steps
    ),
    "step": lambda rate, steps: fnopt.step_decay(rate, 0.1, every=math.ceil(steps / 3)),
    "exponential": lambda rate, steps: fnopt.natural_exponential_decay(rate, math.log(100) / steps),
    "plateau": lambda rate, steps: rate,
}
"""Makes a rate that begins with, or rises to, a number and has the length of a number of steps."""
OTHER_NAMES = {"momentum": "heavy_ball", "gd": "sgd", "gradient_descent": "sgd"}
"""Common names of optimizers, and their names here."""


def make_optimizer(
    optimizer: str,
    schedule: str,
    rate: float | None,
    steps: int,
    *,
    weight_decay: float | None = None,
    plateau: int | None = None,
) -> fnopt.Transform:
    """An optimizer by name, its rate by the name of a schedule over a number of steps.

    Args:
        optimizer: name of an optimizer that needs no argument but a learning rate.
        schedule: one of ``SCHEDULES``.
        rate: rate at the start or at the peak; None for a usual one.
        steps: number of steps of the run.
        weight_decay: strength of the weight decay; None for the optimizer's default.
        plateau: number of evaluations without improvement after which the rate falls, on top of the
            schedule; None for no such fall.

    Raises:
        UsageError: there is none of a name, and the nearest is suggested; the optimizer needs other
            arguments, or has no weight decay.
        ValueError: a number is out of its range.
    """
    fields = _fields(optimizer)
    if schedule not in SCHEDULES:
        raise UsageError(f"no schedule {schedule!r}; {did_you_mean(schedule, SCHEDULES)}")
    if "learning_rate" not in fields or not _required(fields) <= {"learning_rate"}:
        arguments = ", ".join(sorted(_required(fields))) or "no learning rate"
        raise UsageError(f"the optimizer {optimizer!r} takes {arguments}: train with it in Python")
    if rate is None:
        rate = usual_rate(optimizer)
    numbers = {} if weight_decay is None else {"weight_decay": weight_decay}
    if numbers and "weight_decay" not in fields:
        twin = f"{optimizer}w"
        decayed = twin if "weight_decay" in getattr(fnopt, twin, fnopt.sgd)._fields else "adamw"
        raise UsageError(f"the optimizer {optimizer!r} has no weight decay; {decayed!r} has")
    # By replacing, so that the rate itself is checked as well.
    tx = fnopt.optimizer(optimizer, learning_rate=rate, **numbers)
    tx = tx.replace(learning_rate=SCHEDULES[schedule](rate, steps))
    falls = [2] if schedule == "plateau" else []
    falls += [] if plateau is None else [plateau]
    parts = [fnopt.reduce_on_plateau(0.3, patience=n, monitor="metric") for n in falls]
    return fnopt.chain(tx, *parts) if parts else tx


def usual_rate(optimizer: str) -> float:
    """The learning rate that training begins with where none is given."""
    default = _fields(optimizer)["learning_rate"].default
    usual = fnopt.optimizers()[optimizer].make.usual_rate
    return usual or (default if isinstance(default, float) else USUAL_RATE)


def trainable(optimizer: str) -> bool:
    """Whether ``fnopt train`` can make an optimizer: it needs no argument but a learning rate."""
    fields = _fields(optimizer)
    return "learning_rate" in fields and _required(fields) <= {"learning_rate"}


def check_known(optimizer: str) -> None:
    """Raises UsageError, which names the optimizer that is meant, where there is none so called."""
    known = fnopt.optimizers()
    if here := OTHER_NAMES.get(optimizer):
        raise UsageError(f"there is no optimizer {optimizer!r}; it is {here} here")
    if optimizer not in known:
        raise no_such("there is no optimizer", optimizer, known, "fnopt optimizers")


def _fields(optimizer: str) -> Any:
    check_known(optimizer)
    known = fnopt.optimizers()
    return inspect.signature(known[optimizer].make).parameters


def _required(fields: Any) -> set[str]:
    return {name for name, field in fields.items() if field.default is field.empty}
