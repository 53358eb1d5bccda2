"""How a run begins: with a first state, or with what a checkpoint has of it.

A run is resumed in these steps:

1. :func:`first_state` makes the state with which the run would begin; it says what is expected.
2. ``Checkpoints.newest`` reads the newest checkpoint that is good (``checkpoint_file.read``):
   check sums; structure and functions, which must be those expected (``about``, ``closures``);
   arrays; hyperparameters, of which the checkpoint's win.
3. :func:`resumed` compares the data where the checkpoint is in the middle of an epoch.
4. ``Run.go`` does what was still due at the position, and goes on with the epoch: its order follows
   from the run's key and the step at which it began, the keys of a step from its number.
"""

from __future__ import annotations

import inspect
import logging
from typing import Any

import jax
import optax

from fnopt.data.batches import Batches
from fnopt.train.checkpoint import Checkpoints
from fnopt.train.checkpoint_file import Saved
from fnopt.train.feeds import Feed, StreamFeed, size_of
from fnopt.train.fit_options import CheckpointOptions
from fnopt.train.history import History
from fnopt.train.labels import check_labels
from fnopt.train.objective import Objective
from fnopt.train.precision import Precision
from fnopt.train.record import LastEvaluation, Position, Record
from fnopt.train.state import TrainState, copy
from fnopt.train.step_history import StepHistory
from fnopt.train.stopping import early_stopping as EarlyStopping
from fnopt.train.watch import Watched

logger = logging.getLogger("fnopt")


def first_state(
    objective: Objective,
    tx: optax.GradientTransformation | None,
    feed: Feed,
    key: Any,
    state: TrainState | None,
    *,
    stopping: EarlyStopping | None,
    average: Any,
    precision: Precision | None,
) -> TrainState:
    """The state with which the run begins; its buffers are its own.

    Args:
        objective: the objective to minimize.
        tx: the optimizer; None with ``state``.
        feed: the data; an example batch of it has the shapes.
        key: a PRNG key, or an integer to make one; ignored with ``state``.
        state: the state to continue from; None for a new one.
        stopping: early stopping, or None.
        average: keeps an average of the parameters; None for none.
        precision: precision of the run.

    Raises:
        TypeError: there are both ``tx`` and ``state`` or neither, or the state already has an
            average or early stopping.
    """
    if tx is not None and state is None:
        first = TrainState.create(
            objective,
            tx,
            key,
            feed.example(),
            precision=precision,
            average=average,
            stopping=stopping,
        )
        _check_labels(first, feed)
        return first
    if state is None or tx is not None:
        raise TypeError(
            "fit: give either an optimizer or a state to go on from, fit(objective, None, data,"
            " state=state, epochs=…); with other numbers, state.replace(tx=tx), and with another"
            " optimizer, state.replace(tx=tx, opt_state=tx.init(state.params))"
        )
    if average is not None:
        raise TypeError("fit: the state has its own average; make it with another")
    if stopping is not None and state.stopping is not None:
        raise TypeError(
            "fit: the state has its own early stopping; to go on with other numbers,"
            " state.replace(stopping=…)"
        )
    _check_labels(state, feed)
    copied: TrainState = jax.tree.map(copy, state)  # the loop takes over its buffers
    if stopping is not None:
        return copied.replace(
            stopping=jax.tree.map(copy, stopping),
            stopping_state=stopping.init((copied.eval_params, copied.model_state)),
        )
    if copied.stopping is not None and bool(copied.stopping_state.stop):
        logger.warning(
            "fit: early stopping had ended the run of this state; it counts again from here, with"
            " the best so far"
        )
        return copied.replace(stopping_state=copied.stopping.restart(copied.stopping_state))
    return copied


def check_passes(data: Any, epochs: int) -> None:
    """Refuses data that can be read once only, where there are several epochs.

    Args:
        data: the training data.
        epochs: number of passes to come.

    Raises:
        ValueError: they are such an iterator.
    """
    if isinstance(data, Batches):
        once = data.is_iterator
    else:  # a class of somebody's own may begin again where it is iterated again
        once = hasattr(data, "__next__") and not inspect.isfunction(type(data).__iter__)
    if once and epochs > 1:
        raise ValueError(
            "fit: data is an iterator, which can be read once only, but there are"
            f" {epochs} epochs; pass a function that returns it, or what it iterates over"
        )


def _check_labels(state: TrainState, feed: Feed) -> None:
    """Refuses labels that no output belongs to, of all arrays in memory or of a first batch."""
    objective, precision = feed.objective, feed.options.precision
    if isinstance(feed, StreamFeed):
        batch = feed.example()
        check_labels(objective, state, batch, name="the first batch", precision=precision)
    elif getattr(feed.data, "augment", True) is None:  # which may change them
        tree, weights = feed.data.tree, getattr(feed.data, "weights", None)
        if weights is not None:  # examples of weight 0 are never drawn
            tree, weights = jax.tree.map(lambda x: x[None], (tree, weights))
        check_labels(
            objective, state, tree,
            precision=precision, batch_size=feed.batch_size, weights=weights,
        )  # fmt: skip


def open_checkpoints(options: CheckpointOptions, watched: Watched) -> Checkpoints | None:
    """The checkpoints of a run, None without a folder for them.

    Args:
        options: says where they are, and how many to keep.
        watched: the watched metric, in which the best are the best.
    """
    if options.checkpoint_dir is None:
        return None
    return Checkpoints(
        options.checkpoint_dir,
        options.keep,
        options.keep_best,
        mode=watched.mode,
        monitor=watched.name or None,
    )


def prepare(checkpoints: Checkpoints, resume: bool | str) -> None:
    """Prepares the folder; refuses to begin where there are checkpoints of a run.

    Raises:
        ValueError: there are some, and the run does not resume.
        OSError: the folder cannot be created or written to, or another run writes to it.
    """
    checkpoints.prepare()
    if not resume and (paths := list(checkpoints)):
        raise ValueError(
            f"fit: there are {len(paths)} checkpoints of a run in {checkpoints.folder}; go on from"
            " them by resume=True, or give another checkpoint_dir"
        )


def beginning(state: TrainState, feed: Feed) -> Saved:
    """A run that begins, in the form of one that was saved."""
    position = Position(int(state.step), steps_per_epoch=feed.steps)
    return Saved(state, {}, Record(position, History(), LastEvaluation()))


def resumed(saved: Saved, epochs: int, feed: Feed) -> Saved:
    """A run that continues from a checkpoint, checked against its data.

    Raises:
        ValueError: it would continue in the middle of an epoch of other data.
    """
    state, position = saved.state, saved.record.position
    _check_data(saved.record, feed)
    position.steps_per_epoch = feed.steps
    if state.stopping is not None and bool(state.stopping_state.stop):
        logger.warning(
            "fit: early stopping has ended this run, at step %d; it goes on with more patience and"
            " resume='override'",
            int(state.step),
        )
    logger.info(
        "resumed at step %d, epoch %d of %d: %r", state.step, position.epochs_done, epochs, state.tx
    )
    return saved


def keep_steps(history: History, keep: bool, position: Position) -> None:
    """Prepares the history of steps of a run that begins or continues.

    Args:
        history: the history so far.
        keep: whether to keep the metrics of every step.
        position: where the run is.
    """
    if not keep:
        history.steps = StepHistory()
    elif position.steps_done and not history.steps:
        logger.warning(
            "fit: the checkpoint has no history of steps; it begins at step %d", position.step + 1
        )


def _check_data(record: Record, feed: Feed) -> None:
    """Refuses to continue in the middle of an epoch over other data."""
    position, size = record.position, size_of(feed)
    at, steps = position.epoch_step, position.steps_per_epoch
    if not at:
        return
    if steps and feed.steps and steps != feed.steps:
        raise ValueError(
            f"fit: the checkpoint is of step {at} of an epoch of {steps}, and here an"
            f" epoch has {feed.steps}; resume with the same data and batch_size"
        )
    if record.data and size and record.data != size:
        raise ValueError(
            f"fit: the checkpoint is of step {at} of an epoch over"
            f" {_words(record.data)}, and here it is {_words(size)}; resume with the same data and"
            " batch_size"
        )


def _words(data: dict[str, int]) -> str:
    return f"{data['examples']} examples with batch_size={data['batch_size']}"
