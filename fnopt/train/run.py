"""The loop around the compiled loops: what is done between two calls of them, and in what order.

A run is at a place: so many epochs completed, so many steps of the one under way. At every place,
in this order: the figures of the steps are taken in, what is due is evaluated, an epoch that is
over is recorded, logs are written, a checkpoint that is due is written, callbacks are called.
Should one of these raise, there is a checkpoint of the place all the same, which says what is still
to be done there. From any checkpoint the run goes on as if it had not been interrupted: the order
of the epoch follows from the run's key and the step at which the epoch began, a step's own draws
from the key and its number.
"""

from __future__ import annotations

import contextlib
import dataclasses
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np

from fnopt.train.checkpoint import Checkpoints
from fnopt.train.checkpoint_file import Saved
from fnopt.train.diagnosis import diagnose
from fnopt.train.errors import CheckpointError, DataError, NonFiniteError, no_batch
from fnopt.train.evaluate import means_over, observe, observed
from fnopt.train.feeds import Feed, Made, data_of
from fnopt.train.figures import joined, shown_of, shown_of_steps, summary
from fnopt.train.history import History
from fnopt.train.objective import Objective
from fnopt.train.pace import Pace
from fnopt.train.progress import Progress
from fnopt.train.record import Place, Record
from fnopt.train.state import TrainState
from fnopt.train.waiting import Interrupted


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
        writers: of the records: logs.
        on_epoch: called with state and record.
        on_step: called with step and figures.
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
        try:
            ended = self._go()
            self.save()
            return ended
        except BaseException as error:
            # What comes of a second signal ends the process at once.
            if isinstance(error, Exception) or not self.signals:
                self.keep(error)
            raise

    @property
    def stopped(self) -> bool:
        """Whether early stopping has ended the run."""
        stopping_state = self.state.stopping_state
        return stopping_state is not None and bool(stopping_state.stop)

    def save(self) -> None:
        """Writes a checkpoint of this place, if there is a folder for it."""
        if self.checkpoints is None:
            return
        record = Record(self.place, self.history, self.tested, self.epochs, data_of(self.feed))
        self.saved = self.checkpoints.save(
            self.place.base + self.place.gone,
            Saved(self.state, joined(self.figures), record),
            self.figure,
        )

    def keep(self, error: BaseException) -> None:
        """Puts state and history into what ends the run, and writes a checkpoint if it can be."""
        if any(x.is_deleted() for x in jax.tree.leaves(self.state)):
            return  # raised by a compiled step that had taken over the buffers
        if isinstance(error, DataError) and not error.epoch:
            error.epoch = self._number()
            error.args = (f"{error} (epoch {error.epoch}; .state is that after the steps before)",)
        with contextlib.suppress(AttributeError, TypeError):  # of classes without such attributes
            error.state, error.history = self.state, self.history  # pyright: ignore
        if isinstance(error, CheckpointError):
            return
        try:
            self.save()
        except CheckpointError as failed:
            error.add_note(str(failed))
        if not isinstance(error, (NonFiniteError, DataError)):
            error.add_note(
                f"This ended the run after step {int(self.state.step)}. The state is this"
                f" exception's .state{f'; checkpoint: {self.saved}' if self.saved else ''}"
            )

    def _go(self) -> str:
        try:
            if self.place.over or not self.place.evaluated:  # what an error has left undone
                self._write(self._settle())
            while self.place.epoch < self.epochs and not self.stopped:
                ended = self._epoch()
                if ended:
                    return ended
        except Interrupted:  # while data for an evaluation were waited for
            return "interrupted"
        return "early stopping" if self.stopped else "epochs"

    def _epoch(self) -> str:
        """Goes through an epoch, or what is left of it; says what ended the run, if anything."""
        place = self.place
        if place.at == 0:
            place.began = int(self.state.step)
        self.feed.begin(self.state, place.began, place.at)
        before, record = time.perf_counter() - place.seconds, None
        while record is None:
            if self.signals:
                return "interrupted"
            steps = self._steps()
            with self.pace.call(steps):
                made = self.feed.make(self.state, place.at, place.at + steps)
            taken = self._take_in(made)
            place.seconds = time.perf_counter() - before
            if place.over and not place.at:
                raise no_batch(place.epoch)
            records = self._settle()
            record = records[-1] if not place.at and records else None
            self._write(records)
            self._save_if_due(record is not None)
            if taken and self.on_step is not None:
                self.on_step(place.base + place.gone, made.figures)
            if record and self.on_epoch is not None and self.on_epoch(self.state, record):
                return "on_epoch"
            if not self.stopped:
                self._raise_if_ended(made)
        return ""

    def _raise_if_ended(self, made: Made) -> None:
        """Raises what has ended the steps before their number was reached, if anything."""
        if made.bad is not None:
            figures, batch = made.bad
            where = diagnose(
                self.objective, self.state, batch, self.feed.options, figures["grad_norm"]
            )
            raise NonFiniteError(int(self.state.step), figures, self.state, self.history, where)
        if made.error is not None:
            raise made.error

    def _save_if_due(self, over: bool) -> None:
        every = self.checkpoint_every
        if (over and every == "epoch") or (isinstance(every, int) and self.place.gone % every == 0):
            self.save()

    def _write(self, records: list[dict[str, Any]]) -> None:
        """Writes records to the logs, and shows the last of an epoch."""
        for record in records:
            for writer in self.writers:
                writer.write(record)
        if records and "loss" in records[-1]:
            place = self.place
            self.bar.show(place.epoch, place.gone, self.pace.speed, shown_of(records[-1]))

    def _steps(self) -> int:
        """How many to make now: up to the next place where something is due."""
        place, due = self.place, [self.pace.steps]
        if self.feed.most is not None:
            due.append(self.feed.most)
        if self.feed.steps is not None:
            due.append(self.feed.steps - place.at)
        for every in (self.eval_every, self.checkpoint_every):
            if isinstance(every, int):
                due.append(every - place.gone % every)
        return max(1, min(due))

    def _take_in(self, made: Made) -> int:
        """Goes on by the steps that were made; their number."""
        steps = len(made.figures.get("loss", ()))
        self.state = made.state
        self.place.at += steps
        self.place.gone += steps
        self.place.over = made.over and made.bad is None
        if not steps:
            # The end of an epoch may come to light after its last step.
            self.place.evaluated &= self.eval_every is not None or not self.place.over
            return 0
        self.place.evaluated = False
        self.figure = math.nan
        self.figures.append(made.figures)
        self._check_scaling(made.figures)
        shown = shown_of_steps(made.figures, self.tested)
        self.bar.show(self.place.epoch + 1, self.place.gone, self.pace.speed, shown)
        return steps

    def _settle(self) -> list[dict[str, Any]]:
        """Does what is due at this place; the records that come of it."""
        place, records = self.place, []
        if self.eval_every:
            due = place.gone % self.eval_every == 0
        else:
            due = self.test is not None and place.over
        if due and not place.evaluated:
            self._evaluate()
            if self.eval_every:
                record = {"epoch": self._number(), "step": int(self.state.step), **self.tested}
                self.history.evaluations.append(record)
                records.append(record)
        place.evaluated = True
        if place.over or self.stopped:
            records.append(self._recorded())
        return records

    def _evaluate(self) -> None:
        """Evaluates; the state gets the figure that is watched."""
        precision = self.feed.options.precision if self.feed.options else None
        given = self.state.eval_params, self.state.model_state, self.test, precision
        figures = means_over(self.objective, *given)
        figure = figures[self.monitor]
        observe_figure = observe if self.state.stopping is None else observed
        self.state = observe_figure(self.state, figure)
        self.tested = {f"test_{name}": float(x) for name, x in figures.items()}
        self.figure = float(figure)

    def _recorded(self) -> dict[str, Any]:
        """Closes the epoch: its record."""
        place = self.place
        record = {
            "epoch": self._number(),
            "step": int(self.state.step),
            "seconds": place.seconds,
            **summary(joined(self.figures)),
            **self.tested,
        }
        self.history.records.append(record)
        place.epoch, place.at, place.seconds, self.figures = place.epoch + 1, 0, 0.0, []
        place.over = False
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
            raise NonFiniteError(step, bad, self.state, self.history, where)


_HOPELESS = 100
"""Steps skipped one after the other, far more than the loss scale can be halved."""
