"""Records for TensorBoard, written by any installed package for it."""

from __future__ import annotations

import importlib
import os
from typing import Any

_WRITERS = ("tensorboardX", "torch.utils.tensorboard")


class TensorBoard:
    """Writes the metrics of every record under its step.

    Args:
        folder: folder of the event files.
        step: step from which the run continues; records of later steps are hidden.

    Raises:
        ImportError: none of tensorboardX, torch with tensorboard, and tensorflow is installed.
    """

    def __init__(self, folder: str | os.PathLike, step: int = 0) -> None:
        self.writer: Any = None
        for name in _WRITERS:
            try:
                module = importlib.import_module(name)
            except ImportError:
                continue
            # It hides what has this step too.
            purge_step = step + 1 if step else None
            self.writer = module.SummaryWriter(str(folder), purge_step=purge_step)
            self.scalar = self.writer.add_scalar
            return
        try:
            summary: Any = importlib.import_module("tensorflow").summary
        except ImportError as error:
            raise ImportError(
                "tensorboard= needs one of tensorboardX, torch with tensorboard, tensorflow:"
                " pip install 'fnopt[tensorboard]'"
            ) from error
        self.writer = summary.create_file_writer(str(folder))

        def scalar(name: str, value: float, step: int) -> None:
            with self.writer.as_default(step=step):
                summary.scalar(name, value)

        self.scalar = scalar

    def write(self, record: dict[str, Any]) -> None:
        """Writes a record."""
        for name, metric in record.items():
            if name != "step":
                self.scalar(name, metric, record["step"])
        self.writer.flush()

    def close(self) -> None:
        """Closes the file."""
        self.writer.close()
