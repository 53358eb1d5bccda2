"""The loop around the compiled loops: the actions between two calls of them, in order.

A run has a position: epochs completed, and steps of the current one. At every position,
in this order: the metrics of the steps are collected, an evaluation that is due runs, an epoch
that is over is recorded, logs are written, a checkpoint that is due is written, callbacks are
called. If one of these raises, a checkpoint of the position is written all the same, which says
what is still to be done there. From any checkpoint the run continues as if it had not been
interrupted: the order of the epoch follows from the run's key and the step at which the epoch
began, a step's own draws from the key and its number.
"""

from __future__ import annotations

import contextlib
import dataclasses
import time
from typing import Any

import jax

from fnopt.core.types import Metrics
from fnopt.train.call_length import CallLength
from fnopt.train.callbacks import Callbacks
from fnopt.train.cures import cure_of
from fnopt.train.diagnosis import locate_nonfinite
from fnopt.train.errors import CheckpointError, DataError, NonFiniteError, no_batch
from fnopt.train.evaluator import Evaluator
from fnopt.train.feeds import Feed, StepsResult
from fnopt.train.record import Position
from fnopt.train.recorder import Recorder
from fnopt.train.saver import Saver
from fnopt.train.state import TrainState
from fnopt.train.waiting import Interrupted

HOPELESS = 100
"""Steps skipped in a row that end a run, far more than the loss scale can be halved."""


@dataclasses.dataclass(kw_only=True)
class Run:
    """The loop of a run.

    Attributes:
        feed: makes the steps.
        state: the train state.
        position: step and epoch of the run.
        epochs: number of epochs after which the run ends.
        evaluator: makes evaluations.
        recorder: collects metrics and writes records.
        saver: writes checkpoints.
        call_length: number of steps to make at a time.
        callbacks: called after epochs, after some steps, and with states.
        signals: signals received so far; the first ends the run.
    """

    feed: Feed
    state: TrainState
    position: Position
    epochs: int
    evaluator: Evaluator
    recorder: Recorder
    saver: Saver
    call_length: CallLength
    callbacks: Callbacks
    signals: list[Any]

    def go(self) -> str:
        """Runs to the end.

        Returns:
            What ended it, see :class:`~fnopt.train.FitResult`.
        """
        try:
            begun = self.position.steps_done
            self.callbacks.begin(self.state)
            ended = self._go()
            self.save()
            if self.position.steps_done > begun:
                self.callbacks.state(self.state, self.position.steps_done, ended=True)
            return ended
        except BaseException as error:
            # What a second signal raises ends the process at once.
            if isinstance(error, Exception) or not self.signals:
                self.rescue(error)
            raise

    @property
    def stopped(self) -> bool:
        """Whether early stopping has ended the run."""
        stopping_state = self.state.stopping_state
        return stopping_state is not None and bool(stopping_state.stop)

    def save(self) -> None:
        """Writes a checkpoint of this position, if there is a folder for it."""
        self.saver.save(self.state, self.position, self.recorder)

    def rescue(self, error: BaseException) -> None:
        """Puts state and history into an error that ends the run, and tries to save a checkpoint.

        Args:
            error: gets the attributes ``state`` and ``history``, and notes.
        """
        if any(x.is_deleted() for x in jax.tree.leaves(self.state)):
            return  # raised by a compiled step that had taken over the buffers
        if isinstance(error, DataError) and not error.epoch:
            error.epoch = self.position.epoch
            error.args = (f"{error} (epoch {error.epoch}; .state is that after the steps before)",)
        with contextlib.suppress(AttributeError, TypeError):  # of classes without such attributes
            error.state = self.state.unpacked()  # pyright: ignore
            error.history = self.recorder.history  # pyright: ignore
        if isinstance(error, CheckpointError):
            return
        try:
            self.save()
        except CheckpointError as failed:
            error.add_note(str(failed))
        if not isinstance(error, (NonFiniteError, DataError)):
            path = self.saver.path
            error.add_note(
                f"This ended the run after step {int(self.state.step)}. The state is this"
                f" exception's .state{f'; checkpoint: {path}' if path else ''}"
            )

    def _go(self) -> str:
        try:
            if self.position.epoch_over or not self.position.evaluated:
                # Work that was due when the checkpoint was written.
                record = self._settle()
                if record and self.callbacks.epoch(self.state, record):
                    return "on_epoch"
            while self.position.epochs_done < self.epochs and not self.stopped:
                ended = self._epoch()
                if ended:
                    return ended
        except Interrupted:  # while waiting for data of an evaluation
            return "interrupted"
        return "early stopping" if self.stopped else "epochs"

    def _epoch(self) -> str:
        """Runs an epoch, or the remainder of one; returns what ended the run, if anything."""
        position = self.position
        if position.epoch_step == 0:
            position.epoch_start = int(self.state.step)
        self.feed.begin(self.state, position.epoch_start, position.epoch_step)
        before, record = time.perf_counter() - position.seconds, None
        while record is None:
            if self.signals:
                return "interrupted"
            steps = self._steps_to_make()
            with self.call_length.call(steps):
                at = position.epoch_step
                result = self.feed.make(self.state, at, at + steps)
            self._collect(result)
            position.seconds = time.perf_counter() - before
            if position.epoch_over and not position.epoch_step:
                raise no_batch(position.epochs_done)
            record = self._settle()
            if self.saver.is_due(position, record is not None):
                self.save()
            if result.steps:
                self.callbacks.step(position.step, result.metrics)
                self.callbacks.state(self.state, position.steps_done)
            if record and self.callbacks.epoch(self.state, record):
                return "on_epoch"
            if not self.stopped:
                self._raise_if_ended(result)
        return ""

    def _raise_if_ended(self, result: StepsResult) -> None:
        """Raises what has ended the steps before their number was reached, if anything."""
        if result.nonfinite is not None:
            metrics, batch = result.nonfinite
            where = locate_nonfinite(
                self.feed.objective, self.state, batch, self.feed.options, metrics["grad_norm"]
            )
            arrays = getattr(self.feed, "data", None)
            cure = cure_of(
                self.feed.objective, self.state, batch, where, self.position.epoch_step,
                getattr(arrays, "tree", None),
            )  # fmt: skip
            raise self._nonfinite(metrics, where, cure)
        if result.error is not None:
            raise result.error

    def _steps_to_make(self) -> int:
        """The number of steps until the next position where something is due."""
        position, due = self.position, [self.call_length.steps]
        if self.feed.most is not None:
            due.append(self.feed.most)
        if self.feed.steps is not None:
            due.append(self.feed.steps - position.epoch_step)
        for every in (self.evaluator.every, self.saver.every, *self.callbacks.every):
            if isinstance(every, int):
                due.append(every - position.steps_done % every)
        return max(1, min(due))

    def _collect(self, result: StepsResult) -> None:
        """Moves on by the steps done, and collects their metrics."""
        position = self.position
        self.state = result.state
        position.epoch_step += result.steps
        position.steps_done += result.steps
        position.epoch_over = result.epoch_over and result.nonfinite is None
        if not result.steps:
            # The end of an epoch may be known only after its last step.
            position.evaluated &= self.evaluator.every is not None or not position.epoch_over
            return
        position.evaluated = False
        self.recorder.add_steps(position, result.metrics, result.taken, self.call_length.speed)
        skipped = self.recorder.skipped_in_a_row
        if skipped >= HOPELESS:  # no loss scale helps
            metrics = {name: x[-1] for name, x in result.metrics.items()}
            where = (f"the last {skipped} steps, each skipped at every loss scale",)
            raise self._nonfinite(metrics, where)

    def _nonfinite(self, metrics: Metrics, where: tuple[str, ...], *cure: str) -> NonFiniteError:
        step, history = int(self.state.step), self.recorder.history
        return NonFiniteError(step, metrics, self.state.unpacked(), history, where, *cure)

    def _settle(self) -> dict[str, Any] | None:
        """Does what is due at this position, and writes the records that come of it.

        Returns:
            The record of the epoch, if it is over.
        """
        position, recorder, records = self.position, self.recorder, []
        epoch_record = None
        if self.evaluator.is_due(position) and not position.evaluated:
            with recorder.bar.phase("evaluating"):
                self.state, metrics, monitored = self.evaluator.evaluate(self.state)
            recorder.add_evaluation(position, metrics, monitored)
            if self.evaluator.every:
                records.append(recorder.evaluation_record(position, int(self.state.step)))
        position.evaluated = True
        if position.epoch_over or self.stopped:
            epoch_record = recorder.epoch_record(position, int(self.state.step))
            records.append(epoch_record)
            position.close_epoch()
        recorder.write(records, position)
        return epoch_record
