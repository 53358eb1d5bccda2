"""The loop around the compiled loops: what is done between two calls of them, and in what order.

A run is at a place: so many epochs completed, so many steps of the one under way. At every place,
in this order: the figures of the steps are taken in, what is due is evaluated, an epoch that is
over is recorded, a checkpoint that is due is written, a callback is called. A checkpoint is hence
of a place at which everything due has been done, and from it the run goes on as if it had not been
interrupted: the order of the epoch follows from the run's key and the step at which the epoch
began, a step's own draws from the key and its number.
"""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np

from fnopt.train.checkpoint import Checkpoints, Saved
from fnopt.train.diagnosis import diagnose
from fnopt.train.errors import CheckpointError, DataError, NonFiniteError
from fnopt.train.evaluate import means_over, observe, observed
from fnopt.train.feeds import Feed, Made
from fnopt.train.history import History
from fnopt.train.objective import Objective
from fnopt.train.pace import Pace
from fnopt.train.progress import Progress
from fnopt.train.state import TrainState
from fnopt.train.waiting import Interrupted


@dataclasses.dataclass
class Place:
    """Where a run is.

    Attributes:
        base: the number of the step at which it began.
        gone: steps gone through since.
        epoch: epochs completed.
        at: steps of the epoch under way.
        began: the number of the step at which that began.
        seconds: spent on it.
        steps: of an epoch; None where that is not known.
        evaluated: steps gone through when there was an evaluation last.
    """

    base: int
    gone: int = 0
    epoch: int = 0
    at: int = 0
    began: int = 0
    seconds: float = 0.0
    steps: int | None = None
    evaluated: int = 0


@dataclasses.dataclass
class Run:
    """A run under way.

    Attributes:
        objective: what is minimized.
        feed: where the batches come from.
        state: the train state.
        place: where the run is.
        history: of the epochs completed.
        figures: of the steps of the epoch under way.
        test: data of the evaluation.
        epochs: where the run ends.
        monitor: the evaluation's figure that is watched.
        eval_every: steps between two evaluations; None for one an epoch.
        checkpoints: where they are written.
        checkpoint_every: steps between two, ``"epoch"``, or None for the end alone.
        writers: told of each record.
        on_epoch: told of state and record.
        on_step: told of step and figures.
        pace: how many steps to make at a time.
        bar: the progress bar.
        signals: that came.
    """

    objective: Objective
    feed: Feed
    state: TrainState
    place: Place
    history: History
    figures: list[dict[str, np.ndarray]]
    test: Any
    epochs: int
    monitor: str
    eval_every: int | None
    checkpoints: Checkpoints | None
    checkpoint_every: int | str | None
    writers: list[Any]
    on_epoch: Callable[[TrainState, dict[str, Any]], Any] | None
    on_step: Callable[[int, dict[str, np.ndarray]], Any] | None
    pace: Pace
    bar: Progress
    signals: list[Any]
    tested: dict[str, float] = dataclasses.field(default_factory=dict)
    figure: float = math.nan  # watched, of the state as it is now
    in_vain: int = 0  # the steps skipped one after the other, with loss scaling
    saved: Path | None = None

    def go(self) -> str:
        """Goes on to the end; says what ended it."""
        while self.place.epoch < self.epochs and not self.stopped:
            try:
                ended = self._epoch()
            except Interrupted:  # while data for an evaluation were waited for
                ended = "interrupted"
            if ended:
                break
        else:
            ended = "early stopping" if self.stopped else "epochs"
        self.save()
        return ended

    @property
    def precision(self) -> Any:
        """That of the steps."""
        return self.feed.options.precision if self.feed.options else None

    @property
    def stopped(self) -> bool:
        """Whether early stopping has ended the run."""
        told = self.state.stopping_state
        return told is not None and bool(told.stop)

    def save(self) -> None:
        """Writes a checkpoint of this place, if there is a folder for it."""
        if self.checkpoints is None:
            return
        about = {
            "step": int(self.state.step),
            "place": dataclasses.asdict(self.place),
            "tested": self.tested,
            "history": self.history.records,
            "evaluations": self.history.evaluations,
        }
        try:
            self.saved = self.checkpoints.save(
                self.place.base + self.place.gone,
                Saved(self.state, joined(self.figures), about),
                self.figure,
            )
        except CheckpointError as error:
            error.state, error.history = self.state, self.history
            raise

    def _epoch(self) -> str:
        """Goes through an epoch, or what is left of it; says what ended the run, if anything."""
        place = self.place
        if place.at == 0:
            place.began = int(self.state.step)
        try:
            self.feed.begin(self.state, place.began, place.at)
        except DataError as error:
            self._fail(error)
        before, over = time.perf_counter() - place.seconds, False
        while not over:
            if self.signals:
                return "interrupted"
            steps = self._steps()
            with self.pace.call(steps):
                made = self.feed.make(self.state, place.at, place.at + steps)
            over = made.over
            self._take_in(made)
            place.seconds = time.perf_counter() - before
            if made.bad is not None:
                self._not_finite(*made.bad)
            if made.error is not None:
                self._fail(made.error)
            if over and not place.at:
                self._fail(_no_batch(place))
            if self._evaluation_due():
                self._evaluate()
            record = self._recorded() if over or self.stopped else None
            every = self.checkpoint_every
            if (record and every == "epoch") or (
                isinstance(every, int) and place.gone % every == 0
            ):
                self.save()
            if record:
                self.bar.show(place.epoch, place.gone, self.pace.speed, _shown(record))
                if self.on_epoch is not None and self.on_epoch(self.state, record):
                    return "on_epoch"
                return ""
        return ""

    def _steps(self) -> int:
        """How many to make now: up to the next place where something is due."""
        if self._evaluation_due():  # it failed when the run got here first
            return 0
        place, due = self.place, [self.pace.steps]
        if self.feed.most is not None:
            due.append(self.feed.most)
        if self.feed.steps is not None:
            due.append(self.feed.steps - place.at)
        for every in (self.eval_every, self.checkpoint_every):
            if isinstance(every, int):
                due.append(every - place.gone % every)
        return max(1, min(due))

    def _take_in(self, made: Made) -> None:
        steps = len(made.figures.get("loss", ()))
        self.state = made.state
        self.place.at += steps
        self.place.gone += steps
        if not steps:
            return
        self.figure = math.nan
        self.figures.append(made.figures)
        if self.on_step is not None:
            self.on_step(self.place.base + self.place.gone, made.figures)
        self._check_scaling(made.figures)
        last = {name: made.figures[name][-1] for name in ("loss", "learning_rate")}
        told = {"loss": last["loss"], **_first(self.tested), **last}
        self.bar.show(self.place.epoch + 1, self.place.gone, self.pace.speed, told)

    def _evaluation_due(self) -> bool:
        """Whether one of every so many steps is; not if there was one already at this place."""
        gone = self.place.gone
        return (
            bool(self.eval_every) and gone % self.eval_every == 0 and gone != self.place.evaluated
        )

    def _evaluate(self) -> None:
        """Evaluates; the state knows of the figure that is watched."""
        given = self.state.params, self.state.model_state, self.test, self.precision
        try:
            figures = means_over(self.objective, *given)
        except DataError as error:
            self._fail(error)
        self.place.evaluated = self.place.gone
        figure = figures[self.monitor]
        tell = observe if self.state.stopping is None else observed
        self.state = tell(self.state, figure)
        self.tested = {f"test_{name}": float(x) for name, x in figures.items()}
        self.figure = float(figure)
        if self.eval_every is not None:
            record = {"epoch": self._number(), "step": int(self.state.step), **self.tested}
            self.history.evaluations.append(record)
            for writer in self.writers:
                writer.write(record)

    def _recorded(self) -> dict[str, Any]:
        """Closes the epoch: its record, with the evaluation that is due at its end."""
        place = self.place
        if self.test is not None and self.eval_every is None:
            self._evaluate()
        figures = joined(self.figures)
        last = {name: float(figures[name][-1]) for name in _LAST if name in figures}
        means = means_of(figures) | last
        record = {
            "epoch": self._number(),
            "step": int(self.state.step),
            "seconds": place.seconds,
            **means,
            **self.tested,
        }
        self.history.records.append(record)
        for writer in self.writers:
            writer.write(record)
        place.epoch, place.at, place.seconds, self.figures = place.epoch + 1, 0, 0.0, []
        return record

    def _number(self) -> int:
        """Of the epoch under way, counted from the first step of all."""
        place = self.place
        return place.epoch + 1 + (place.base // place.steps if place.steps else 0)

    def _check_scaling(self, figures: dict[str, np.ndarray]) -> None:
        """Ends a run in which no loss scale helps: each step is skipped."""
        if "skipped" not in figures:
            return
        taken = np.flatnonzero(np.isfinite(figures["update_norm"]))
        steps = len(figures["skipped"])
        self.in_vain = steps - 1 - int(taken[-1]) if len(taken) else self.in_vain + steps
        if self.in_vain >= _HOPELESS:
            bad = {name: x[-1] for name, x in figures.items()}
            where = (f"the last {self.in_vain} steps, each skipped whatever the loss scale",)
            step = int(self.state.step)
            self._fail(NonFiniteError(step, bad, self.state, self.history, where))

    # What goes wrong: the state is kept, in the exception and in a checkpoint.

    def _not_finite(self, figures: dict[str, Any], batch: Any) -> None:
        try:
            where = diagnose(self.objective, self.state, batch, self.precision)
        except Exception as error:  # what is told of an error must not hide it
            where = (f"a place that could not be found ({error!r})",)
        error = NonFiniteError(int(self.state.step), figures, self.state, self.history, where)
        self._fail(error)

    def _fail(self, error: NonFiniteError | DataError) -> None:
        error.state, error.history = self.state, self.history
        if isinstance(error, DataError):
            error.epoch = self._number()
            error.args = (f"{error} (epoch {error.epoch}; .state is that after the steps before)",)
        try:
            self.save()
        except CheckpointError as failed:
            error.add_note(str(failed))
        raise error


_LAST = ("learning_rate", "skipped", "loss_scale")
"""Figures of which an epoch's record has the last, not the mean."""
_HOPELESS = 100
"""Steps skipped one after the other, far more than the loss scale can be halved."""


def means_of(figures: dict[str, np.ndarray]) -> dict[str, float]:
    """The mean of each figure over the steps that were taken."""
    if "skipped" in figures:  # the others' are infinite, or no numbers
        taken = np.isfinite(figures["update_norm"])
        figures = {name: x[taken] if taken.any() else x for name, x in figures.items()}
    return {name: float(np.mean(x, dtype=np.float64)) for name, x in figures.items()}


def joined(parts: list[dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """The figures of several calls one after the other."""
    return {name: np.concatenate([part[name] for part in parts]) for name in (parts or [{}])[0]}


def begin_again(saved: Saved) -> tuple[TrainState, Place, History, list[dict[str, np.ndarray]]]:
    """What a run goes on with from a checkpoint."""
    about = saved.about
    history = History(about["history"], about["evaluations"])
    figures = [saved.figures] if saved.figures else []
    return saved.state, Place(**about["place"]), history, figures


def best_of(state: TrainState) -> TrainState:
    """The state with the best parameters that early stopping has kept, and their model state."""
    told = state.stopping_state
    if told is None or told.best_params is None:
        return state
    # Copies: a step takes over the buffers of both.
    params, model_state = jax.tree.map(lambda x: x.copy(), told.best_params)
    return state.replace(params=params, model_state=model_state)


def _no_batch(place: Place) -> DataError:
    again = (
        "; an iterator can be gone through once, give a function that makes one"
        if place.epoch
        else ""
    )
    return DataError(f"the data gave no batch{again}", 0)


def _first(tested: dict[str, float]) -> dict[str, float]:
    """The evaluation's figures, but for its loss: the most telling."""
    return {name: x for name, x in tested.items() if name != "test_loss"}


def _shown(record: dict[str, Any]) -> dict[str, float]:
    """The figures of an epoch worth a place beside the bar, the most telling first."""
    tested = [name for name in record if name.startswith("test_")]
    return {name: record[name] for name in ("loss", *tested, "learning_rate")}
