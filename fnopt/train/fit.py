"""A whole run: epochs over data, many steps per call, evaluation, early stopping, checkpoints.

Here a run is put together; :mod:`fnopt.train.fit_options` has its options,
:mod:`fnopt.train.run` the loop, :mod:`fnopt.train.feeds` the steps over each kind of data, and
:mod:`fnopt.train.loop` the compiled programs.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterator
from typing import Any, Unpack

import optax

from fnopt.core.checks import positive_integer
from fnopt.core.entry import entry
from fnopt.train.begin import (
    beginning,
    check_passes,
    first_state,
    keep_steps,
    open_checkpoints,
    prepare,
    resumed,
)
from fnopt.train.call_length import CallLength
from fnopt.train.documented import documented
from fnopt.train.errors import CheckpointError as CheckpointError
from fnopt.train.errors import DataError as DataError
from fnopt.train.errors import NonFiniteError as NonFiniteError
from fnopt.train.evaluation_sets import named_sets, prepared_sets
from fnopt.train.evaluator import Evaluator
from fnopt.train.feeds import feed_of, size_of
from fnopt.train.fit_arguments import check_arguments
from fnopt.train.fit_options import EvaluationOptions, FitOptions, ReportOptions, read_options
from fnopt.train.history import History
from fnopt.train.hold_out import hold_out
from fnopt.train.interrupts import interrupts
from fnopt.train.layout import Layout
from fnopt.train.lengths import warn_of_rate_0
from fnopt.train.logs import Writer, log_paths, open_log
from fnopt.train.objective import Objective
from fnopt.train.progress import Progress
from fnopt.train.record import Position
from fnopt.train.recorder import Recorder
from fnopt.train.result import FitResult as FitResult
from fnopt.train.run import Run
from fnopt.train.saver import Saver
from fnopt.train.state import TrainState
from fnopt.train.stopping import best_of
from fnopt.train.tensorboard import TensorBoard
from fnopt.train.watch import Watched, check_unwatched, find_watched

logger = logging.getLogger("fnopt")


@entry("fit(objective, tx, data, epochs=…), where data are one argument, (inputs, targets)")
@documented
def fit(
    objective: Objective,
    tx: optax.GradientTransformation | None,
    data: Any,
    *,
    epochs: int,
    batch_size: int | None = 32,
    validation_data: Any = None,
    key: Any = 0,
    state: TrainState | None = None,
    average: Any = None,
    packed: bool | None = None,
    **options: Unpack[FitOptions],
) -> FitResult:
    """Trains for a number of epochs.

    Each epoch goes through a permutation of the examples that is drawn from the key, and drops its
    remainder; the same key gives the same run to the bit. All steps run in one compiled loop,
    several per call; a call ends early at a step whose loss or gradient is not finite. Data that
    are no arrays in memory are iterated, with one call per batch.

    Ctrl-C and SIGTERM end the run after the current steps, or at once where it waits for data; a
    second one ends the process.

    Args:
        objective: the objective to minimize, from :func:`objective`.
        tx: the optimizer; None with ``state``, which has its own.
        data: a tree of arrays with examples along the first axis, such as ``(images, labels)``; an
            ``fnopt.data.Arrays``; or batches: a loader such as torch's ``DataLoader`` or any other
            iterable, an ``fnopt.data.Batches``, or a function that returns one, iterated again
            in each epoch. Batches must all have one shape; a last one of fewer examples is left
            out. Arrays are NumPy's, jax's, torch's or any that have ``__array__`` or
            ``__dlpack__``; they are copied, and stay the caller's.
        epochs: number of passes over the data, those before a ``resume`` among them; with
            ``state``, further ones.
        batch_size: number of examples per step: 1 is stochastic, None full-batch gradient
            descent. Ignored for data that come in batches.
        validation_data: evaluated after each epoch, recorded with the prefix ``val_``: data of the
            same kinds, but no iterator, which can be read once only. The last of its batches may
            be shorter; every example counts. None evaluates nothing.
        key: a PRNG key, or an integer to make one. Ignored with ``state``, which has its own.
        state: a state to continue from; its buffers stay the caller's. ``state.replace(tx=…)`` has
            another optimizer of the same kind. None begins with a new one.
        average: averages the parameters over the steps, such as :class:`ema_of_params`; None for
            no average.
        packed: whether the run stores small arrays packed (``state.packed()``), which a
            callback reads as before, and the result does not have; None where it makes steps
            faster.

    Raises:
        ValueError: there are no epochs, or several over an iterator; the batch size is above the
            number of examples, the arrays differ in it, no metric ``monitor`` is evaluated, the
            checkpoint is of another model or optimizer, or there are checkpoints and ``resume`` is
            false.
        NonFiniteError: loss or gradient are not finite; has the last good state and says where it
            began.
        TypeError: arrays in memory are not of numbers, a number is no integer, or there is no
            option of a name.
        DataError: data of training or evaluation raised, or a batch has another shape or is not of
            numbers; has the state after the last step.
        CheckpointError: a checkpoint could not be written; has the state.
        OSError: a folder cannot be created or written to; before the run begins.
    """
    check_arguments(objective, tx, data, state)
    epochs = positive_integer("fit: epochs", epochs)
    step, evaluation, checkpoint, report = read_options(options, _NAMES)
    data, validation_data = _held_out(data, validation_data, evaluation, batch_size)
    sets = named_sets(validation_data, evaluation)
    watched = _watched(objective, evaluation, tx, state, list(sets))
    stopping = evaluation.early_stopping and evaluation.early_stopping.replace(mode=watched.mode)
    layout = Layout(packed, step.precision)
    feed = feed_of(objective, data, batch_size, step)
    current = first_state(
        objective, tx, feed, key, state,
        stopping=stopping, average=average, precision=step.precision,
    )  # fmt: skip
    evaluated, metrics = prepared_sets(objective, current, sets, evaluation.eval_batch_size)
    watched.check(metrics)
    run: Run | None = None
    with contextlib.ExitStack() as open_until_the_end:
        open_until_the_end.enter_context(_with_state(lambda: run))
        checkpoints = open_checkpoints(checkpoint, watched)
        saved = None
        if checkpoints is not None:
            open_until_the_end.callback(checkpoints.close)
            prepare(checkpoints, checkpoint.resume)
            override, length = checkpoint.resume == "override", (epochs, feed.steps)
            if checkpoint.resume:
                saved = checkpoints.newest(current, override=override, length=length)
        if saved is None:
            logger.info("%r", current.tx if tx is None else tx)
        begun = beginning(current, feed) if saved is None else resumed(saved, epochs, feed)
        current, record, position = begun.state, begun.record, begun.record.position
        check_passes(data, epochs - position.epochs_done)
        record.evaluation.restrict(metrics)
        steps = epochs * feed.steps if feed.steps else None
        ahead = steps and steps - position.steps_done
        warn_of_rate_0(current.tx, current.opt_state, ahead, saved is not None)
        keep_steps(record.history, report.step_history, position)
        writers = _writers(report, record.history, position, epochs, int(current.step))
        for writer in writers:
            open_until_the_end.callback(writer.close)
        signals = open_until_the_end.enter_context(interrupts())
        for source in (feed, *evaluated.values()):
            source.signals = signals
            open_until_the_end.callback(source.close)
        bar = open_until_the_end.enter_context(Progress(report.progress, epochs, position))
        with bar.phase("compiling"):
            # No steps yet: compiles the loop before anything is timed.
            current = feed.compile(layout(current))
        run = Run(
            feed=feed,
            state=current,
            position=position,
            epochs=epochs,
            evaluator=Evaluator(
                objective, evaluated, watched.name, evaluation.eval_every, step.precision
            ),
            recorder=Recorder(
                record.history,
                record.evaluation,
                writers,
                bar,
                begun.metrics,
                begun.taken,
                report.step_history,
            ),
            saver=Saver(checkpoints, checkpoint.checkpoint_every, epochs, size_of(feed)),
            call_length=CallLength(report.steps_per_call, feed.most),
            callbacks=report.make_callbacks(),
            signals=signals,
        )
        ended = run.go()
    interrupted = ended == "interrupted"
    last = run.state.unpacked()
    return FitResult(
        state=last if interrupted else best_of(last),
        history=record.history,
        steps_per_second=run.call_length.speed,
        interrupted=interrupted,
        ended=ended,
        last=last,
        checkpoint=run.saver.path,
        objective=objective,
        precision=step.precision,
        monitor=watched.name,
        monitor_mode=watched.mode,
    )


_NAMES = ("epochs", "batch_size", "validation_data", "key", "state", "average", "packed")
"""The keyword arguments of :func:`fit` that are in no group."""


def _held_out(
    data: Any, validation_data: Any, options: EvaluationOptions, batch_size: int | None
) -> tuple[Any, Any]:
    """The data to train on and those to validate on."""
    if options.validation_split is None:
        return data, validation_data
    for name, other in (("validation_data", validation_data), ("test_data", options.test_data)):
        if other is not None:
            raise ValueError(f"fit: give either validation_split or {name}, not both")
    return hold_out(data, options.validation_split, batch_size)


def _watched(
    objective: Objective,
    options: EvaluationOptions,
    tx: optax.GradientTransformation | None,
    state: TrainState | None,
    sets: list[str],
) -> Watched:
    """The watched metric; refuses to wait for evaluations without data."""
    stopping = options.early_stopping or getattr(state, "stopping", None)
    optimizer = getattr(state, "tx", tx)
    if not sets:
        check_unwatched(options.monitor, stopping, optimizer, options.eval_every)
    return find_watched(objective, sets, options.monitor, options.monitor_mode, stopping, optimizer)


def _writers(
    options: ReportOptions, history: History, position: Position, epochs: int, step: int
) -> list[Writer]:
    # The last epoch has this number: a run that goes on from a state counts those before.
    last = position.epoch - 1 + epochs - position.epochs_done
    writers = [open_log(path, history, last) for path in log_paths(options.log)]
    if options.tensorboard is not None:
        writers.append(TensorBoard(options.tensorboard, step))
    return writers


@contextlib.contextmanager
def _with_state(run: Callable[[], Run | None]) -> Iterator[None]:
    """Puts the state of the run into an error of what is closed after it, such as a log."""
    try:
        yield
    except Exception as error:
        if (current := run()) is not None and getattr(error, "state", None) is None:
            current.rescue(error)
        raise
