"""Errors that end a run before its time; each has the state and the history of the run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fnopt.train.history import History
from fnopt.train.state import TrainState


class NonFiniteError(FloatingPointError):
    """Loss or gradient stopped being finite.

    Attributes:
        step: number of the step that was not taken, 0 for the first.
        where: where it began, in order: paths in the batch, the parameters, the gradient, or
            ``"the loss"``, ``"the update"``.
        state: the state before that step, with parameters that were still good. (If the optimizer
            turned a finite gradient into an update that is not, its own state is the new one.)
        history: records of the completed epochs.
    """

    def __init__(
        self,
        step: int,
        metrics: dict[str, Any],
        state: TrainState,
        history: History,
        where: tuple[str, ...] = (),
        cure: str = "A lower learning rate, a warm-up or clip_by_global_norm are the usual cures",
    ):
        self.step, self.state, self.history, self.where = step, state, history, where
        numbers = ", ".join(
            f"{name} {metrics[name]:g}" for name in ("loss", "grad_norm", "update_norm")
        )
        began = f" It began in {', '.join(where)}." if where else ""
        super().__init__(
            f"training stopped at step {step}, which was not taken: {numbers}.{began} {cure}. The"
            " state before it is this exception's .state."
        )


class DataError(RuntimeError):
    """The data raised an error, gave nothing, or gave a batch of another shape.

    Attributes:
        epoch: number of the current epoch, 1 for the first.
        batch: number of the batch in the epoch, 0 for the first.
        state: the state after the last step; None before there was one.
        history: records of the completed epochs.
    """

    state: TrainState | None = None
    history: History | None = None

    def __init__(self, message: str, batch: int, epoch: int = 0):
        self.batch, self.epoch = batch, epoch
        super().__init__(message)


class CheckpointError(OSError):
    """A checkpoint could not be written, or none can be read.

    Attributes:
        folder: folder of the checkpoints.
        kept: names of the checkpoints in the folder.
        state: the state that was to be written; None when reading.
        history: records of the completed epochs.
    """

    state: TrainState | None = None
    history: History | None = None

    def __init__(
        self, folder: Path, step: int | None, kept: list[str], cause: Exception | None = None
    ):
        self.folder, self.kept = folder, kept
        names = ", ".join(kept) or "none"
        if step is None:
            super().__init__(
                f"no checkpoint in {folder} is good: {names}; repair one, or begin again in another"
                " folder"
            )
            return
        super().__init__(
            getattr(cause, "errno", None),
            f"the checkpoint of step {step} could not be written to {folder}: {cause}. Kept there:"
            f" {names}. The state is this exception's .state",
        )

    def __str__(self) -> str:
        return str(self.args[-1])


def no_batch(epochs: int) -> DataError:
    """The error of an epoch without a batch.

    Args:
        epochs: number of epochs before.
    """
    cure = "; an iterator can be read once, pass a function that returns one"
    return DataError(f"the data gave no batch{cure if epochs else ''}", 0)
