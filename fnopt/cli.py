"""The command line: ``fnopt train``."""

from __future__ import annotations

import contextlib
import inspect
import logging
import math
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

try:
    import tyro
    from flax import nnx
except ImportError as error:
    raise SystemExit(f"fnopt: {error}; the command line needs pip install 'fnopt[all]'") from error

import fnopt
from fnopt.core import did_you_mean
from fnopt.data import load, pixels
from fnopt.data.arrays import check_batch_size
from fnopt.train import (
    DataError,
    NonFiniteError,
    Objective,
    accuracy,
    early_stopping,
    evaluate,
    fit,
    objective,
)
from fnopt.train.models import MLP, ConvNet


def main() -> None:
    """Entry point of the ``fnopt`` command."""
    try:
        tyro.extras.subcommand_cli_from_dict(
            {"train": train},
            prog="fnopt",
            description="Functional optimization for JAX.",
            args=_with_words(sys.argv[1:]),
        )
    except (ValueError, NonFiniteError, DataError, OSError, ImportError) as error:
        sys.exit(f"fnopt: {error}")


def _with_words(arguments: list[str]) -> list[str]:
    """The arguments, with a word after a ``--resume`` that has none."""
    words: list[str] = []
    for argument, after in zip(arguments, [*arguments[1:], ""], strict=True):
        if argument == "--no-resume":
            words += ["--resume", "no"]
        elif argument == "--resume" and after not in ("no", "yes", "override"):
            words += ["--resume", "yes"]
        else:
            words.append(argument)
    return words


def train(
    dataset: str = "digits",
    optimizer: str = "adamw",
    learning_rate: float | None = None,
    schedule: str = "cosine",
    epochs: int = 30,
    batch_size: Annotated[int | None, tyro.conf.arg(metavar="INT|None")] = 64,
    seed: int = 0,
    early_stop: Annotated[int | None, tyro.conf.arg(metavar="INT|None")] = None,
    plateau: Annotated[int | None, tyro.conf.arg(metavar="INT|None")] = None,
    precision: str = "float32",
    accumulate: int = 1,
    checkpoint_dir: Annotated[Path | None, tyro.conf.arg(metavar="PATH|None")] = None,
    resume: Literal["no", "yes", "override"] = "no",
    plot: bool = True,
    out: Path = Path("out"),
) -> None:
    """Trains a network with batch normalization and dropout on a data set.

    Args:
        dataset: digits, fashion_mnist, breast_cancer, wine or diabetes.
        optimizer: any of fnopt's, by its name.
        learning_rate: rate at the start, or at the peak of a warm-up; a usual one by default.
        schedule: constant, linear, cosine, warmup_cosine, step, exponential or plateau.
        epochs: number of passes over the data.
        batch_size: number of examples per step; None for full-batch gradient descent.
        seed: seed of initialization, shuffling and dropout.
        early_stop: end after more epochs than this without a lower validation loss, and give back
            the best parameters.
        plateau: lower the rate, on top of the schedule, after more such epochs than this.
        precision: float32, bfloat16, bfloat16_params, bfloat16_stochastic or float16.
        accumulate: number of micro-batches in which a batch is computed.
        checkpoint_dir: folder where a checkpoint is written after each epoch.
        resume: go on from the newest checkpoint there, with its numbers (of a run with other
            epochs, with the schedule of these options); "override" takes no number from it.
        plot: whether to draw the picture.
        out: folder for DATASET.png and DATASET.jsonl.
    """
    if epochs < 1:
        raise ValueError(f"epochs must be at least 1, got {epochs}")
    if dataset not in DATASETS:
        raise ValueError(f"no data set {dataset!r} to train on; {did_you_mean(dataset, DATASETS)}")
    (x, y), test = load(dataset)
    steps = epochs * (len(x) // check_batch_size(batch_size, len(x)))
    tx = make_optimizer(optimizer, schedule, learning_rate, steps)
    if plateau is not None:
        tx = fnopt.chain(tx, fnopt.reduce_on_plateau(0.3, patience=plateau, monitor="metric"))
    task, metric = make_objective(dataset, x, y, seed)
    picture, log = out / f"{dataset}.png", out / f"{dataset}.jsonl"
    out.mkdir(parents=True, exist_ok=True)  # before the work, not after it
    try:
        with _log_printed():
            result = fit(
                task,
                tx,
                (x, y),
                epochs=epochs,
                batch_size=batch_size,
                validation_data=test,
                key=seed,
                early_stopping=None if early_stop is None else early_stopping(early_stop),
                precision=None if precision == "float32" else precision,
                accumulate=accumulate,
                checkpoint_dir=checkpoint_dir,
                resume={"no": False, "yes": True, "override": "override"}[resume],
            )
    except NonFiniteError as error:
        error.history.write(log)
        raise
    if not result.history:
        sys.exit("fnopt: interrupted before the first epoch was over")
    result.history.write(log)
    ended = "" if result.ended == "epochs" else f", ended by {result.ended}"
    if result.interrupted:
        ended = ", interrupted"
    if plot:
        title = f"{optimizer}, {schedule} schedule: {DATASETS[dataset]}"
        result.history.plot(picture, title=title)
    reached = result.history[f"val_{metric}"][-1]
    if early_stop is not None and not result.interrupted:  # the best, which is not the last
        reached = float(evaluate(task, result.state, test, 1024, precision=precision)[metric])
    print(f"validation {metric} {reached:.4f} after {len(result.history)} epochs{ended}")
    print(f"{result.steps_per_second:,.0f} steps per second")
    print(f"pictures and log: {picture}, {log}" if plot else f"log: {log}")


class _Printed(logging.Handler):
    """Prints what is logged."""

    def emit(self, record: logging.LogRecord) -> None:
        print(record.getMessage())


@contextlib.contextmanager
def _log_printed() -> Iterator[None]:
    """Prints what ``fit`` logs: what runs, and what a resumed run has taken from its checkpoint."""
    logger, handler = logging.getLogger("fnopt"), _Printed()
    before = logger.level, logger.propagate
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    logger.propagate = False  # else a library's handler of the root prints it again
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(before[0])
        logger.propagate = before[1]


DATASETS = {
    "digits": "handwritten digits",
    "fashion_mnist": "Fashion-MNIST",
    "breast_cancer": "breast cancer",
    "wine": "wines",
    "diabetes": "the course of diabetes",
}
"""The data sets to train on, and their names in a title."""


def make_objective(dataset: str, x: Any, y: Any, seed: int) -> tuple[Objective, str]:
    """A data set's model with its loss, and the name of the metric that is reported."""
    rngs, features = nnx.Rngs(seed), math.prod(x.shape[1:])
    if dataset == "diabetes":
        return objective(MLP(features, (32,), 1, dropout=0.2, rngs=rngs), "squared_error"), "loss"
    classes = int(y.max()) + 1
    if dataset == "fashion_mnist":
        model = ConvNet(x.shape[1:], (16, 32), 128, classes, dropout=0.2, rngs=rngs)
    else:
        widths = (128, 128) if dataset == "digits" else (32,)
        model = MLP(features, widths, classes, dropout=0.2, rngs=rngs)
    task = objective(
        model,
        "softmax_cross_entropy_with_integer_labels",
        metrics={"accuracy": accuracy},
        inputs=pixels,
    )
    return task, "accuracy"


def _usual_rate(optimizer: str) -> float:
    entry = fnopt.optimizers().get(optimizer)
    if entry is None:
        return 3e-3  # of a name that is yet to be refused
    fields = inspect.signature(entry.make).parameters
    required = {name for name, field in fields.items() if field.default is field.empty}
    if "learning_rate" not in fields or not required <= {"learning_rate"}:
        arguments = ", ".join(sorted(required)) or "no learning_rate"
        raise ValueError(f"the optimizer {optimizer!r} takes {arguments}: train with it in Python")
    default = fields["learning_rate"].default
    return entry.make.usual_rate or (default if isinstance(default, float) else 3e-3)


def make_optimizer(
    optimizer: str, schedule: str, rate: float | None, steps: int
) -> fnopt.Transform:
    """An optimizer by name, its rate by the name of a schedule over a number of steps.

    Raises:
        ValueError: there is none of this name; the nearest is suggested.
    """
    usual = _usual_rate(optimizer)
    rate = usual if rate is None else rate
    schedules: dict[str, Any] = {
        "constant": lambda: rate,
        "linear": lambda: fnopt.linear_schedule(rate, 0.0, steps),
        "cosine": lambda: fnopt.cosine_decay_schedule(rate, steps),
        "warmup_cosine": lambda: fnopt.warmup_cosine_decay_schedule(0.0, rate, steps // 10, steps),
        "step": lambda: fnopt.step_decay(rate, 0.1, every=math.ceil(steps / 3)),
        "exponential": lambda: fnopt.natural_exponential_decay(rate, math.log(100) / steps),
        "plateau": lambda: rate,
    }
    if schedule not in schedules:
        raise ValueError(f"no schedule {schedule!r}; {did_you_mean(schedule, schedules)}")
    # By replacing, so that the rate itself is checked as well.
    tx = fnopt.optimizer(optimizer, learning_rate=rate).replace(learning_rate=schedules[schedule]())
    if schedule == "plateau":
        return fnopt.chain(tx, fnopt.reduce_on_plateau(0.3, patience=2, monitor="metric"))
    return tx
