"""Saves checkpoints of a run where they are due."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import Literal

import numpy as np

from fnopt.train.checkpoint import Checkpoints
from fnopt.train.checkpoint_file import Saved
from fnopt.train.record import Position, Record
from fnopt.train.recorder import Recorder
from fnopt.train.state import TrainState


@dataclasses.dataclass
class Saver:
    """Writes checkpoints of a run.

    Attributes:
        checkpoints: the folder's checkpoints; None to write none.
        every: steps between two, ``"epoch"`` for one after each epoch, None for the end alone.
        epochs: epochs of the run.
        data: number of examples and batch size of data in memory, by name; None for a stream.
        path: the last checkpoint that was written, None before the first.
    """

    checkpoints: Checkpoints | None
    every: int | Literal["epoch"] | None
    epochs: int
    data: dict[str, int] | None
    path: Path | None = None

    def is_due(self, position: Position, epoch_recorded: bool) -> bool:
        """Whether a checkpoint is to be written here.

        Args:
            position: step and epoch of the run.
            epoch_recorded: whether an epoch has just been recorded.
        """
        if self.every == "epoch":
            return epoch_recorded
        return isinstance(self.every, int) and position.steps_done % self.every == 0

    def save(self, state: TrainState, position: Position, recorder: Recorder) -> None:
        """Writes a checkpoint of this position, if there is a folder for it.

        Raises:
            CheckpointError: it could not be written.
        """
        if self.checkpoints is None:
            return
        evaluation = recorder.evaluation
        record = Record(
            position,
            recorder.history,
            evaluation,
            self.epochs,
            self.data,
            skipped=np.flatnonzero(~recorder.taken).tolist(),
        )
        monitored = evaluation.monitored if evaluation.step == position.step else None
        with recorder.bar.phase("saving"):
            self.path = self.checkpoints.save(
                position.step,
                Saved(state.unpacked(), recorder.metrics, record),
                math.nan if monitored is None else monitored,
            )
