"""A whole run: epochs over data, many steps a call, evaluation, early stopping, checkpoints.

Here are the arguments and what comes back; :mod:`fnopt.train.run` has the loop,
:mod:`fnopt.train.feeds` where batches come from, :mod:`fnopt.train.loop` the compiled programs.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import logging
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal

import jax
import optax

from fnopt.train.begin import (
    begin_state,
    check_folder,
    check_numbers,
    checkpoints_of,
    options_of,
    resumed,
)
from fnopt.train.errors import CheckpointError as CheckpointError
from fnopt.train.errors import DataError as DataError
from fnopt.train.errors import NonFiniteError as NonFiniteError
from fnopt.train.evaluate import evaluate_batches
from fnopt.train.evaluation_data import evaluation_data
from fnopt.train.feeds import feed_of
from fnopt.train.history import History, Log
from fnopt.train.interrupts import interrupts
from fnopt.train.lengths import warn_of_rate_0
from fnopt.train.objective import Objective
from fnopt.train.pace import Pace
from fnopt.train.progress import Progress
from fnopt.train.record import Place, Record
from fnopt.train.run import Run
from fnopt.train.state import TrainState
from fnopt.train.stopping import best_of
from fnopt.train.stopping import early_stopping as EarlyStopping
from fnopt.train.tensorboard import TensorBoard
from fnopt.train.watch import check_monitor, check_unwatched, direction

logger = logging.getLogger("fnopt")


@dataclasses.dataclass(frozen=True)
class FitResult:
    """What a run has come to.

    Attributes:
        state: after the last step; with early stopping that restores, the best parameters and
            their model state, unless the run was interrupted.
        history: a record an epoch.
        steps_per_second: of training, compilation and evaluation not counted.
        interrupted: the run was ended by Ctrl-C or SIGTERM.
        ended: what ended it: ``"epochs"``, ``"early stopping"``, ``"on_epoch"`` or
            ``"interrupted"``.
        last: the state after the last step, to go on from.
        checkpoint: the last that was written, if any.
    """

    state: TrainState
    history: History
    steps_per_second: float
    interrupted: bool = False
    ended: str = "epochs"
    last: TrainState | None = None
    checkpoint: Path | None = None


def fit(
    objective: Objective,
    tx: optax.GradientTransformation | None,
    data: Any,
    *,
    epochs: int,
    batch_size: int | None = 32,
    test_data: Any = None,
    key: Any = 0,
    state: TrainState | None = None,
    monitor: str = "loss",
    monitor_mode: Literal["min", "max"] | None = None,
    eval_batch_size: int | None = 1024,
    eval_every: int | None = None,
    early_stopping: EarlyStopping | None = None,
    steps_per_call: int | None = None,
    accumulate: int = 1,
    accumulator_dtype: Any = None,
    precision: Any = None,
    clip_norm: float | None = None,
    average: Any = None,
    checkpoint_dir: str | os.PathLike | None = None,
    checkpoint_every: int | Literal["epoch"] | None = "epoch",
    keep: int = 3,
    keep_best: int = 1,
    resume: bool | Literal["override"] = False,
    log: str | os.PathLike | None = None,
    tensorboard: str | os.PathLike | None = None,
    progress: bool | None = None,
    on_epoch: Callable[[TrainState, dict[str, Any]], Any] | None = None,
    on_step: Callable[[int, dict[str, Any]], Any] | None = None,
) -> FitResult:
    """Trains for a number of epochs.

    Each epoch goes through a permutation of the examples that is drawn from the key, and drops its
    remainder; the same key gives the same run to the bit. All steps run in one compiled loop,
    some of them a call; a call ends early at a step whose loss or gradient is not finite. Data that
    are no arrays in memory are iterated, a call a batch.

    Ctrl-C and SIGTERM end the run after the steps under way, or at once where it waits for data; a
    second one ends the process.

    Args:
        objective: what is minimized, from :func:`objective`.
        tx: the optimizer; None with ``state``, which has its own.
        data: a tree of arrays with examples along the first axis, such as ``(images, labels)``; an
            ``fnopt.data.Arrays``; or batches: a loader such as torch's ``DataLoader`` or any other
            iterable, an ``fnopt.data.Batches``, or a function that returns one, gone through again
            in each epoch. Batches must all have one shape; a last one of fewer examples is left
            out. Arrays are NumPy's, jax's, torch's or whatever has ``__array__`` or
            ``__dlpack__``; they are copied, and stay the caller's.
        epochs: how often to go through the data; with ``state``, how often more; with ``resume``,
            those before among them.
        batch_size: examples a step: 1 is stochastic, None full-batch gradient descent. Of no
            meaning for data that come in batches.
        test_data: evaluated after each epoch, recorded with the prefix ``test_``: data of the same
            kinds, but no iterator that can be gone through once. The last of its batches may be
            shorter; every example counts.
        key: a PRNG key, or an integer to make one. Ignored with ``state``, which has its own.
        state: to go on from; the buffers stay the caller's. Another optimizer of the same kind goes
            in by ``state.replace(tx=…)``.
        monitor: the evaluation's figure that is watched: ``tx`` is told it as ``metric``, early
            stopping decides by it, and the best checkpoint is the best in it.
        monitor_mode: whether the smallest (``"min"``) or the largest figure (``"max"``) is the
            best; None asks the metric, see :func:`fnopt.train.maximized`.
        eval_batch_size: examples at a time in evaluation, of arrays in memory.
        eval_every: steps between two evaluations; None evaluates after each epoch.
        early_stopping: ends the run; it lies in the state with its own state.
        steps_per_call: steps between two looks at the run; None finds a number that takes about a
            quarter of a second. The result does not depend on it.
        accumulate: micro-batches a step.
        accumulator_dtype: of their summed gradients.
        precision: of parameters, computation and outputs.
        clip_norm: the largest norm of a gradient.
        average: of the parameters over the steps.
        checkpoint_dir: where checkpoints are written; made if missing.
        checkpoint_every: steps between two, ``"epoch"`` after each epoch, None at the end alone.
            There is one at the end in any case, after an interrupt, and after an error.
        keep: how many of the last are kept.
        keep_best: how many of those of the best evaluations are kept beside them.
        resume: go on from the newest good checkpoint there; begin where there is none. The
            checkpoint's numbers win over those of ``tx`` and ``early_stopping``, and what differs
            is logged; ``"override"`` takes the code's. A run of other epochs, or of epochs of other
            steps, takes the schedules of ``tx``, which were made for its length.
        log: a file to which each record is written at once, as a line of JSON.
        tensorboard: a folder for TensorBoard, told the same.
        progress: whether to show a bar; None shows one on a terminal.
        on_epoch: called with the state and the record after each epoch; returning True stops. The
            state is good for the time of the call: the next step takes over its buffers.
        on_step: called after each call of the loop with the number of steps made and the figures of
            those of the call, arrays by name. Whatever either raises is raised with the run's
            ``state`` and ``history`` as its attributes.

    Raises:
        ValueError: there are no epochs, the batch size is above the number of examples, the arrays
            differ in it, the evaluation has no figure ``monitor``, the checkpoint is of another
            model or optimizer, or there are checkpoints and ``resume`` is false.
        NonFiniteError: loss or gradient are not finite; has the last good state and says where it
            began.
        TypeError: arrays in memory are not of numbers, or a number is no integer.
        DataError: the data or the test data raised, or a batch has another shape or is not of
            numbers; has the state after the last step.
        CheckpointError: a checkpoint could not be written; has the state.
        OSError: a folder cannot be made or written to; before the work begins.
    """
    check_numbers(epochs, steps_per_call, eval_every, checkpoint_every, keep, keep_best)
    options = options_of(
        accumulate=accumulate,
        accumulator_dtype=accumulator_dtype,
        precision=precision,
        clip_norm=clip_norm,
    )
    if not isinstance(early_stopping, (EarlyStopping, type(None))):
        raise TypeError(
            "fit: early_stopping must be fnopt.train.early_stopping(patience=…), got"
            f" {early_stopping!r} ({type(early_stopping).__name__})"
        )
    stopping = early_stopping or getattr(state, "stopping", None)
    chosen = getattr(state, "tx", tx)
    if test_data is None:
        check_unwatched(monitor, stopping, chosen, eval_every)
    mode = direction(objective, monitor, monitor_mode, stopping, chosen)
    if early_stopping is not None:
        early_stopping = early_stopping.replace(mode=mode)
    feed = feed_of(objective, data, batch_size, options)
    given = {"stopping": early_stopping, "average": average, "precision": precision}
    current = begin_state(objective, tx, feed, key, state, given)
    test = None if test_data is None else evaluation_data(test_data, eval_batch_size, "fit")
    if test is not None:
        tested = functools.partial(evaluate_batches, objective)
        given = current.params, current.model_state, *test.example()
        check_monitor(monitor, jax.eval_shape(tested, *given))
    record = Record(Place(int(current.step), steps=feed.steps), History(), {})
    figures, saved, run = {}, None, None
    with contextlib.ExitStack() as open_until_the_end:
        open_until_the_end.enter_context(_with_state(lambda: run))
        checkpoints = checkpoints_of(checkpoint_dir, keep, keep_best, mode, resume)
        if checkpoints is not None:
            open_until_the_end.callback(checkpoints.close)
            checkpoints.prepare()
            check_folder(checkpoints, resume)
            length = epochs, feed.steps
            override = resume == "override"
            saved = resume and checkpoints.newest(current, override=override, length=length)
        if saved:
            current, record, figures = resumed(saved, epochs, feed)
        else:
            logger.info("%r", current.tx if tx is None else tx)
        place, history = record.place, record.history
        steps = epochs * feed.steps if feed.steps else None
        warn_of_rate_0(current.tx, current.opt_state, steps and steps - place.gone, bool(saved))
        writers: list[Any] = [] if log is None else [Log(log, history)]
        if tensorboard is not None:
            writers.append(TensorBoard(tensorboard, place.base + place.gone))
            open_until_the_end.callback(writers[-1].close)
        signals = open_until_the_end.enter_context(interrupts())
        for source in (feed, test):
            if source is not None:
                source.signals = signals
                open_until_the_end.callback(source.close)
        # No steps yet: compiles the loop before anything is timed.
        current = feed.compile(current)
        run = Run(
            objective,
            feed,
            current,
            place,
            history,
            [figures] if figures else [],
            test,
            epochs,
            monitor,
            eval_every,
            checkpoints,
            checkpoint_every,
            writers,
            on_epoch,
            on_step,
            Pace(steps_per_call, feed.most),
            open_until_the_end.enter_context(Progress(progress, steps, epochs, place.gone)),
            signals,
            tested=record.tested,
        )
        ended = run.go()
    interrupted = ended == "interrupted"
    return FitResult(
        state=run.state if interrupted else best_of(run.state),
        history=history,
        steps_per_second=run.pace.speed,
        interrupted=interrupted,
        ended=ended,
        last=run.state,
        checkpoint=run.saved,
    )


@contextlib.contextmanager
def _with_state(run: Callable[[], Run | None]) -> Iterator[None]:
    """Puts what the run has come to into an error of what is closed after it, a log say."""
    try:
        yield
    except Exception as error:
        if (current := run()) is not None and getattr(error, "state", None) is None:
            current.keep(error)
        raise
