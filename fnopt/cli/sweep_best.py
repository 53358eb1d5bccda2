"""The best configuration of a sweep: as Python, as a command, and whether it is at an edge."""

from __future__ import annotations

import shlex
import shutil
from collections.abc import Sequence

import numpy as np

from fnopt.cli.optimizer import trainable
from fnopt.cli.sweep_options import SweepOptions
from fnopt.sweeps import BestEntrant, Entrant, Sweep
from fnopt.sweeps.entrants import values_of
from fnopt.sweeps.measure import Measure
from fnopt.sweeps.texts import ABSENT, is_number, number

TRAINED_WITH = {"learning_rate", "weight_decay"}
"""The hyperparameters for which ``fnopt train`` has an option."""
FEW = 3
"""Fewest values of a hyperparameter that have edges."""


def as_python(entrant: Entrant) -> str:
    """The optimizer as a line of Python, with all digits; broken where it is too long.

    Args:
        entrant: the optimizer, of the name of one of fnopt.

    >>> import fnopt
    >>> as_python(Entrant("sgd", fnopt.sgd(1e-5), {"learning_rate": 1e-5}))
    'fnopt.sgd(learning_rate=1e-05)'
    """
    rate = getattr(entrant.tx, "learning_rate", None)
    texts = {name: repr(value) for name, value in entrant.hyperparameters.items()}
    if callable(rate):
        texts["learning_rate"] = f"fnopt.{rate!r}"
    inside = ", ".join(f"{name}={text}" for name, text in texts.items())
    return _broken(f"fnopt.{entrant.label}({inside})".split(" "), "")


def as_command(entrant: Entrant, options: SweepOptions) -> str:
    """A command that trains with the optimizer as the run of seed 0 does; several lines if long.

    Args:
        entrant: the optimizer, of the name of one of fnopt.
        options: the options of the sweep.
    """
    values = dict(entrant.hyperparameters)
    others = [name for name in values if name not in TRAINED_WITH]
    if others or not trainable(entrant.label):
        what = f"has no option for {', '.join(others)}" if others else f"has no {entrant.label}"
        return f"(fnopt train {what})"
    words = {f"--{name.replace('_', '-')}": value for name, value in values.items()}
    run, data, model = options.run, options.data, options.model
    words = {"--optimizer": entrant.label, **words, "--schedule": run.schedule} | {
        "--epochs": run.epochs,
        "--batch-size": run.batch_size,
        "--early-stop": run.early_stop,
        "--precision": None if run.precision == "float32" else run.precision,
        "--dataset": data.dataset,
        "--data": data.data,
        "--task": data.task,
        "--model": model.model,
        "--loss": model.loss,
    }
    parts = [f"{name} {shlex.quote(str(x))}" for name, x in words.items() if x is not None]
    return _broken(["fnopt train", *parts], " \\")


def others_of(best: BestEntrant, mode: str) -> dict[str, float]:
    """The medians of what else was evaluated, each run at its best epoch.

    Args:
        best: the best configuration.
        mode: whether the smallest (``"min"``) or the largest value (``"max"``) is the best.
    """
    measure = Measure(best.metric, mode)
    places = [(run, measure.best(run).epoch) for run in best.runs if not run.diverged]
    return {
        name: float(np.median([run.curves[name][epoch - 1] for run, epoch in places if epoch]))
        for name in best.runs[0].curves
        if name.startswith("val_") and name != best.metric
    }


def _broken(parts: Sequence[str], end: str) -> str:
    """Parts in lines that fit the terminal, each line but the last with this end."""
    width = shutil.get_terminal_size().columns - len(end)
    lines = [parts[0]]
    for part in parts[1:]:
        if len(lines[-1]) + 1 + len(part) <= width:
            lines[-1] += f" {part}"
        else:
            lines.append(f"    {part}")
    return f"{end}\n".join(lines)


def about_edges(result: Sweep, best: Entrant) -> list[str]:
    """A sentence for each hyperparameter whose best value is the smallest or the largest tried.

    Args:
        result: the sweep.
        best: its best optimizer.
    """
    own = [run for run in result.runs if run.entrant.label == best.label]
    sentences = []
    for name, value in best.hyperparameters.items():
        values = values_of(own, name)
        numbers = [x for x in values if x is not ABSENT and is_number(x)]
        if len(numbers) < FEW or not is_number(value):
            continue
        if value == numbers[0] and value != 0:  # few hyperparameters go below 0
            edge, further = "smallest", "smaller"
        elif value == numbers[-1]:
            edge, further = "largest", "larger"
        else:
            continue
        sentences.append(
            f"{name} {number(value)} is the {edge} of {len(numbers)}: try {further} ones too"
        )
    return sentences
