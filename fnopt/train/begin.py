"""How a run begins: with a first state, or with what a checkpoint has of it.

And what :func:`fnopt.train.fit` refuses before the work.
"""

from __future__ import annotations

import logging
from typing import Any

import jax

from fnopt.core.checks import integer, positive_integer
from fnopt.train.checkpoint import Checkpoints
from fnopt.train.checkpoint_file import Saved
from fnopt.train.feeds import Feed, data_of
from fnopt.train.objective import Objective
from fnopt.train.options import StepOptions
from fnopt.train.record import Record
from fnopt.train.state import TrainState, copy

logger = logging.getLogger("fnopt")


def options_of(**given: Any) -> Any:
    """The options of the step; None where they are what a step does anyway."""
    usual = {"accumulate": 1, "accumulator_dtype": None, "precision": None, "clip_norm": None}
    if given == usual:
        return None
    return StepOptions(**given)


def begin_state(
    objective: Objective,
    tx: Any,
    feed: Feed,
    key: Any,
    state: TrainState | None,
    given: dict[str, Any],
) -> TrainState:
    """The state with which the run begins, its buffers its own."""
    given = {name: value for name, value in given.items() if value is not None}
    if tx is not None and state is None:
        return TrainState.create(objective, tx, key, feed.example(), **given)
    if state is None or tx is not None:
        raise TypeError(
            "fit: give either an optimizer or a state to go on from; to go on with other numbers,"
            " state.replace(tx=…)"
        )
    stopping = given.pop("stopping", None)
    given.pop("precision", None)  # the step's alone: the state was made with one already
    if given:
        raise TypeError(f"fit: the state has its own {', '.join(given)}; make it with another")
    if stopping is not None and state.stopping is not None:
        raise TypeError(
            "fit: the state has its own early stopping; to go on with other numbers,"
            " state.replace(stopping=…)"
        )
    own: TrainState = jax.tree.map(copy, state)  # the loop takes over its buffers
    if stopping is None:
        if own.stopping is not None and bool(own.stopping_state.stop):
            logger.warning(
                "fit: early stopping had ended the run of this state; it counts again from here,"
                " with the best so far"
            )
            own = own.replace(stopping_state=own.stopping.begin_again(own.stopping_state))
        return own
    return own.replace(
        stopping=jax.tree.map(copy, stopping),
        stopping_state=stopping.init((own.params, own.model_state)),
    )


def checkpoints_of(
    folder: Any, keep: int, keep_best: int, mode: str, resume: bool | str
) -> Checkpoints | None:
    """The checkpoints in a folder, None without one."""
    if resume not in (False, True, "override"):
        raise ValueError(f"fit: resume must be True, False or 'override', got {resume!r}")
    if folder is None:
        if resume:
            raise ValueError("fit: resume needs checkpoint_dir=, where to go on from")
        return None
    return Checkpoints(folder, keep, keep_best, mode)


def check_folder(checkpoints: Checkpoints, resume: bool | str) -> None:
    """Refuses to begin where there are checkpoints of a run."""
    if not resume and (there := list(checkpoints)):
        raise ValueError(
            f"fit: there are {len(there)} checkpoints of a run in {checkpoints.folder}; go on from"
            " them by resume=True, or give another checkpoint_dir"
        )


def resumed(saved: Saved, epochs: int, feed: Feed) -> tuple[TrainState, Record, dict[str, Any]]:
    """State, record and figures with which a run goes on from a checkpoint.

    Raises:
        ValueError: it goes on in the middle of an epoch of other data.
    """
    state, record = saved.state, saved.record
    _check_place(record, feed)
    record.place.steps = feed.steps
    if state.stopping is not None and bool(state.stopping_state.stop):
        logger.warning(
            "fit: early stopping has ended this run, at step %d; it goes on with more patience and"
            " resume='override'",
            int(state.step),
        )
    logger.info(
        "resumed at step %d, epoch %d of %d: %r", state.step, record.place.epoch, epochs, state.tx
    )
    return state, record, saved.figures


def check_numbers(
    epochs: int, steps_per_call: Any, eval_every: Any, checkpoint_every: Any, keep: int, best: int
) -> None:
    """Refuses what is no number of epochs, steps or checkpoints, by its name."""
    every = None if checkpoint_every == "epoch" else checkpoint_every
    if isinstance(every, str):
        raise ValueError(
            f"fit: checkpoint_every must be a number of steps, 'epoch' or None, got {every!r}"
        )
    several = {
        "epochs": epochs,
        "steps_per_call": steps_per_call,
        "eval_every": eval_every,
        "checkpoint_every": every,
        "keep": keep,
    }
    for name, number in several.items():
        if number is not None or name in ("epochs", "keep"):
            positive_integer(f"fit: {name}", number)
    integer("fit: keep_best", best, least=0)


def _check_place(record: Record, feed: Feed) -> None:
    """Refuses to go on in the middle of an epoch that is another one here."""
    place, here = record.place, data_of(feed)
    if not place.at:
        return
    if place.steps and feed.steps and place.steps != feed.steps:
        raise ValueError(
            f"fit: the checkpoint is of step {place.at} of an epoch of {place.steps}, and here an"
            f" epoch has {feed.steps}; resume with the same data and batch_size"
        )
    if record.data and here and record.data != here:
        raise ValueError(
            f"fit: the checkpoint is of step {place.at} of an epoch over"
            f" {_words(record.data)}, and here it is {_words(here)}; resume with the same data and"
            " batch_size"
        )


def _words(data: dict[str, int]) -> str:
    return f"{data['examples']} examples with batch_size={data['batch_size']}"
