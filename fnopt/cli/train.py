"""``fnopt train``: one run by the options of the command line, with its log and its picture."""

from __future__ import annotations

import contextlib
import logging
import sys
import warnings
from collections.abc import Iterator
from typing import Any

from fnopt.cli.data import Data, load_dataset, load_file
from fnopt.cli.model import make_objective
from fnopt.cli.optimizer import make_optimizer
from fnopt.cli.options import DataOptions, TrainOptions
from fnopt.cli.screen import fitted
from fnopt.cli.step_log import StepLog
from fnopt.cli.usage import UsageError
from fnopt.cli.words import in_options
from fnopt.core.checks import positive_integer
from fnopt.data.arrays import check_batch_size
from fnopt.train import early_stopping, evaluate, fit

BATCH_SIZE = 64
RESUME = {"no": False, "yes": True, "override": "override"}


def train(options: TrainOptions) -> None:
    """Trains, and leaves the log and the picture of the run in a folder.

    Raises:
        UsageError: options, data or model are not what they must be.
        ValueError, TypeError: an option is out of its range.
        NonFiniteError, DataError, OSError: what :func:`fnopt.train.fit` raises.
    """
    run, output = options.run, options.output
    epochs = positive_integer("epochs", run.epochs)
    data = load_data(options.data)
    batch_size = batch_size_of(run.batch_size, len(data.train[0]))
    tx = make_optimizer(
        options.optimizer.optimizer,
        options.optimizer.schedule,
        options.optimizer.learning_rate,
        epochs * (len(data.train[0]) // batch_size),
        weight_decay=options.optimizer.weight_decay,
        plateau=options.optimizer.plateau,
    )
    task = make_objective(data, options.model.model, options.model.loss, run.seed)
    picture, log = (output.out / f"{data.name}.{ending}" for ending in ("png", "jsonl"))
    steps = output.out / f"{data.name}-steps.jsonl"
    resume = RESUME[run.resume]
    on_step = None
    if output.log_every is not None:
        on_step = StepLog(output.log_every, steps, bool(resume))
    output.out.mkdir(parents=True, exist_ok=True)  # before the work, not after it
    print(fitted(data.about, sys.stdout), flush=True)
    with printed():
        result = fit(
            task,
            tx,
            data.train,
            epochs=epochs,
            batch_size=batch_size,
            validation_data=data.validation,
            key=run.seed,
            early_stopping=None if run.early_stop is None else early_stopping(run.early_stop),
            precision=None if run.precision == "float32" else run.precision,
            accumulate=run.accumulate,
            clip_norm=options.optimizer.clip_norm,
            checkpoint_dir=run.checkpoint_dir,
            resume=resume,
            log=log,
            on_step=on_step,
        )
    if not result.history:
        raise UsageError("interrupted before the first epoch was over")
    reached = reached_by(result, task, data, run.precision)
    ended = {"epochs": "", "interrupted": ", interrupted"}.get(
        result.ended, f", ended by {result.ended}"
    )
    epochs_done = len(result.history)
    print(f"{', '.join(reached)} after {epochs_done} epoch{'s' * (epochs_done != 1)}{ended}")
    print(f"{result.steps_per_second:,.0f} steps per second")
    files = {"log": log} | ({"steps": steps} if on_step else {})
    if output.plot:
        print(f"drawing {picture}", flush=True)
        optimizer, schedule = options.optimizer.optimizer, options.optimizer.schedule
        title = f"{optimizer}, {schedule} schedule: {data.title}"
        result.history.plot(picture, title=title)
        files = {"picture": picture} | files
    print(", ".join(f"{what}: {path}" for what, path in files.items()))


def batch_size_of(option: int | str | None, examples: int) -> int:
    """The number of examples of a step: that of the option, all of them, or by default 64 at most.

    Raises:
        ValueError: it is below 1 or above the number of examples.
    """
    if option is None:
        return min(BATCH_SIZE, examples)
    return check_batch_size(None if isinstance(option, str) else option, examples)


def load_data(options: DataOptions) -> Data:
    """The data that the options name.

    Raises:
        UsageError: they name two, or the data are not what they must be.
    """
    dataset, path, task = options.dataset, options.data, options.task
    if path is not None and dataset is not None:
        raise UsageError(f"give either --dataset {dataset} or --data {path}, not both")
    if path is not None:
        return load_file(path, task)
    if task is not None:
        raise UsageError("--task is for --data; a data set of fnopt has its own task")
    return load_dataset(dataset or "digits")


def reached_by(result: Any, task: Any, data: Data, precision: str) -> list[str]:
    """What the parameters that a run gives back reach, in words: on validation and test data.

    With early stopping they are the best, not those of the last epoch.
    """
    metric = "loss" if data.classes is None else "accuracy"
    parts = {"validation": data.validation} | ({"test": data.test} if data.test else {})
    return [
        f"{name} {metric}"
        f" {float(evaluate(task, result.state, part, 1024, precision=precision)[metric]):.4f}"
        for name, part in parts.items()
    ]


@contextlib.contextmanager
def printed(level: int = logging.INFO) -> Iterator[None]:
    """Prints what ``fit`` logs and warns of, in the words of the command line.

    It logs what runs, and what a resumed run takes from its checkpoint.

    Args:
        level: the least level of what is printed.
    """
    logger, handler = logging.getLogger("fnopt"), _Printed()
    before = logger.level, logger.propagate
    logger.addHandler(handler)
    logger.setLevel(level)
    logger.propagate = False  # else a library's handler of the root prints it again
    try:
        with warnings.catch_warnings():
            warnings.showwarning = _show_warning
            yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(before[0])
        logger.propagate = before[1]


class _Printed(logging.Handler):
    """Prints what is logged."""

    def emit(self, record: logging.LogRecord) -> None:
        print(fitted(in_options(record.getMessage()), sys.stdout), flush=True)


def _show_warning(message: Any, category: Any, filename: str, lineno: int, *_: Any) -> None:
    print(fitted(f"warning: {in_options(str(message))}", sys.stdout), flush=True)
