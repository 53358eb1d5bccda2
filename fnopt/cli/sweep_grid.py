"""The grids of ``fnopt sweep``: hyperparameters as options, with lists and bands of values."""

from __future__ import annotations

import inspect
import math
import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

import fnopt
from fnopt.cli.optimizer import SCHEDULES, check_known, usual_rate
from fnopt.cli.usage import UsageError, no_such
from fnopt.sweeps import Entrant
from fnopt.sweeps import grid as grid_of

ALIASES = {"--lr": "--learning-rate"}
FORMS = (
    "give numbers with commas between them, such as 0,1e-2, or a band LOW:HIGH:N, or on a"
    " logarithmic scale LOW:HIGH:logN, such as 1e-5:1:log11"
)
WORDS = {"true": True, "false": False, "none": None}


class Grid(NamedTuple):
    """A grid of one optimizer.

    Attributes:
        optimizer: name of the optimizer.
        values: the values of each hyperparameter, by its name as an argument.
    """

    optimizer: str
    values: dict[str, list[Any]]

    @property
    def size(self) -> int:
        """How many optimizers it has."""
        return math.prod(map(len, self.values.values()))


def taken_apart(
    words: Sequence[str], own: Collection[str]
) -> tuple[list[str], dict[str, list[Any]]]:
    """The words of a command without hyperparameters, and the values of these.

    Args:
        words: the words after ``fnopt sweep``.
        own: the options of the command itself, with their hyphens; all others are hyperparameters.

    Returns:
        The other words, and a dict from names of arguments to values.

    Raises:
        UsageError: a hyperparameter has no values, some that cannot be read, or is there twice.

    >>> taken_apart(["adamw", "--weight-decay", "0,1e-2", "--b1=0.8", "--seeds", "3"], ["--seeds"])
    (['adamw', '--seeds', '3'], {'weight_decay': [0.0, 0.01], 'b1': [0.8]})
    """
    rest: list[str] = []
    values: dict[str, list[Any]] = {}
    left = list(words)
    while left:
        word = left.pop(0)
        option, equals, value = word.partition("=")
        option = ALIASES.get(option, option).replace("_", "-")
        if option in ("--optimizer", "--optimizers"):
            raise UsageError("give optimizers without an option, as in fnopt sweep adamw,sgd")
        if not option.startswith("--") or option in own or option == "--help" or _no(option) in own:
            rest.append(word)
            continue
        if not equals:
            if not left or left[0].startswith("--"):
                raise UsageError(f"{option} needs values; {FORMS}")
            value = left.pop(0)
        name = option.removeprefix("--").replace("-", "_")
        if name in values:
            raise UsageError(f"{option} is there twice; {FORMS}")
        values[name] = values_of(option, value)
    return rest, values


def values_of(option: str, word: str) -> list[Any]:
    """The values of a hyperparameter: a list with commas of values and bands.

    A band ``LOW:HIGH:N`` has N numbers from LOW to HIGH, both included, equally far apart; in
    ``LOW:HIGH:logN`` they have equal ratios. Beside numbers there are the words true, false and
    none, and other words for what is chosen by name.

    Args:
        option: the option, for errors.
        word: the text.

    Raises:
        UsageError: it cannot be read, or a value is there twice.

    >>> values_of("--learning-rate", "1e-4:1:log5")
    [0.0001, 0.001, 0.01, 0.1, 1.0]
    >>> values_of("--b1", "0:0.9:4"), values_of("--ns-steps", "3,5")
    ([0.0, 0.3, 0.6, 0.9], [3, 5])
    >>> values_of("--nesterov", "true,false")
    [True, False]
    """
    values: list[Any] = []
    for part in word.split(","):
        values += _band(option, part) if ":" in part else [_value(option, word, part.strip())]
    if any(type(value) is float for value in values):
        values = [float(value) if type(value) is int else value for value in values]
    for i, value in enumerate(values):
        if any(value == other and type(value) is type(other) for other in values[:i]):
            raise UsageError(f"{option} {word}: {value} is there twice")
    return values


def grids_of(
    optimizers: str, settings: Mapping[str, Sequence[Any]], own: Collection[str] = ()
) -> list[Grid]:
    """The grid of each optimizer.

    A hyperparameter is set in those optimizers that have it. Where no learning rate is given, an
    optimizer that has one gets its usual one.

    Args:
        optimizers: names of optimizers with commas between them.
        settings: the values of hyperparameters by their names as arguments.
        own: the options of the command itself, one of which may be meant by an unknown one.

    Raises:
        UsageError: there is no optimizer of a name, none that has a hyperparameter, or one needs
            arguments that are not given.

    >>> grids_of("sgd,adamw", {"learning_rate": [0.1, 1.0], "weight_decay": [0.0, 0.01]})[1].size
    4
    """
    names = [name.strip() for name in optimizers.split(",") if name.strip()]
    if not names:
        raise UsageError("give an optimizer, as in fnopt sweep adamw; fnopt optimizers lists all")
    if twice := [name for name in names if names.count(name) > 1]:
        raise UsageError(f"the optimizer {twice[0]!r} is there twice")
    for name in names:
        check_known(name)
    known = fnopt.optimizers()
    fields = {name: inspect.signature(known[name].make).parameters for name in names}
    for setting in settings:
        if not any(setting in of_one for of_one in fields.values()):
            options = ["--" + field.replace("_", "-") for each in fields.values() for field in each]
            which = f"{names[0]!r}" if len(names) == 1 else f"none of {', '.join(names)}"
            what = "has no" if len(names) == 1 else "has"
            listed = f"fnopt optimizers {names[0]}"
            option = "--" + setting.replace("_", "-")
            raise no_such(f"{which} {what} hyperparameter", option, [*options, *own], listed)
    return [_grid(name, fields[name], settings) for name in names]


def entrants_of(grid: Grid, schedule: str, steps: int) -> tuple[Entrant, ...]:
    """The optimizers of a grid, whose learning rates follow a schedule.

    Args:
        grid: the grid.
        schedule: one of ``SCHEDULES``.
        steps: steps of a run.

    Returns:
        Entrants that have as hyperparameter the number with which the schedule begins, or to which
        it rises.

    Raises:
        UsageError: the optimizer has no learning rate, and the schedule is not the constant one.
        ValueError, TypeError: a value is none that the hyperparameter may have.
    """
    if schedule != "constant" and "learning_rate" not in grid.values:
        raise UsageError(
            f"the optimizer {grid.optimizer!r} has no learning rate; leave --schedule out"
        )

    def make(**values: Any) -> Any:
        tx = fnopt.optimizer(grid.optimizer, **values)  # so that the rate itself is checked
        if schedule == "constant":
            return tx
        return tx.replace(learning_rate=SCHEDULES[schedule](values["learning_rate"], steps))

    make.__name__ = grid.optimizer
    return grid_of(make, **grid.values)


def _grid(name: str, fields: Any, settings: Mapping[str, Sequence[Any]]) -> Grid:
    values = {key: list(given) for key, given in settings.items() if key in fields}
    if "learning_rate" in fields and "learning_rate" not in values:
        values = {"learning_rate": [usual_rate(name)], **values}
    needed = [key for key, field in fields.items() if field.default is field.empty]
    if missing := [key for key in needed if key not in values]:
        options = ", ".join("--" + key.replace("_", "-") for key in missing)
        raise UsageError(f"the optimizer {name!r} needs {options}; {FORMS}")
    return Grid(name, values)


def _band(option: str, word: str) -> list[float]:
    shown = f"{option} {word}"
    match = re.fullmatch(r"\s*([^:]+):([^:]+):(log)?(\d+)\s*", word)
    if not match:
        raise UsageError(f"{shown}: a band is LOW:HIGH:N or LOW:HIGH:logN, such as 1e-5:1:log11")
    try:
        low, high, number = float(match[1]), float(match[2]), int(match[4])
    except ValueError:
        raise UsageError(f"{shown}: LOW and HIGH must be numbers, as in 1e-5:1:log11") from None
    if not -math.inf < low < high < math.inf:
        raise UsageError(f"{shown}: LOW must be below HIGH, and both finite, as in 0:0.1:5")
    if number < 2:
        raise UsageError(f"{shown}: a band has 2 values or more, got {number}")
    if match[3] and low <= 0:
        raise UsageError(f"{shown}: LOW must be above 0 on a logarithmic scale; add 0, as in 0,…")
    spaced = (np.geomspace if match[3] else np.linspace)(low, high, number)
    return [float(f"{value:.12g}") for value in spaced]  # 0.3, not 0.30000000000000004


def _value(option: str, word: str, part: str) -> Any:
    if part.lower() in WORDS:
        return WORDS[part.lower()]
    for kind in (int, float):
        try:
            value = kind(part)
        except ValueError:
            continue
        if not math.isnan(value):
            return value
    if re.fullmatch(r"[A-Za-z]\w*", part) and part.lower() != "nan":
        return part
    raise UsageError(f"{option} {word}: {part!r} is no value; {FORMS}")


def _no(option: str) -> str:
    """The option that ``--no-…`` switches off."""
    return "--" + option.removeprefix("--no-")
