"""The parameters along a run."""

from __future__ import annotations

import os
from typing import Any

import jax
import numpy as np

from fnopt.core.recorder import Recorder
from fnopt.core.types import Params
from fnopt.lab.flat import Layout, layout_of, vector_of
from fnopt.train.state import TrainState, copy

IN_A_RUN = "; it records in a run, fit(…, callbacks=[recorder])"
"""How one gets a record."""


class PathRecorder(Recorder):
    """Keeps the parameters at the start of a run, every few steps of it, and at its end.

    It is a callback: ``fit(…, callbacks=[recorder])``. Then ``recorder.plot(task, data)`` draws the
    path, and :func:`plot_path` several.

    Each record is a copy in the computer's memory, of 4 bytes for each parameter: 100 records of a
    million parameters are 400 MB. The compiled loop ends its calls at the steps of the records,
    which costs little where these are some dozens apart.

    A recorder is for one run, which may be ended and resumed. The last record is the end of the
    run; with ``early_stopping``, ``fit`` returns the best parameters, not those of the last record.

    Args:
        every: the number of steps from one record to the next, above 0.

    Attributes:
        steps: a list of the numbers of steps taken, one for each record.
        points: a list of vectors of all parameters, shape (parameters,).
        layout: where each leaf of the parameters lies in these vectors; None before a run.
        state: the last train state without the state of the optimizer, copied; None before a run.

    >>> import numpy as np
    >>> import fnopt
    >>> from fnopt.lab import PathRecorder
    >>> from fnopt.train import fit, objective
    >>> task = objective(lambda w, x: x @ w, "squared_error", params=np.ones(3, "f4"))
    >>> data = np.eye(3, dtype="f4"), np.zeros(3, "f4")
    >>> recorder = PathRecorder(every=4)
    >>> result = fit(task, fnopt.sgd(0.1), data, epochs=3, batch_size=1, callbacks=[recorder])
    >>> recorder.steps, len(recorder.points), recorder.points[0].tolist()
    ([0, 4, 8, 9], 4, [1.0, 1.0, 1.0])
    """

    def __init__(self, every: int = 1) -> None:
        super().__init__(every)
        self.steps: list[int] = []
        self.points: list[np.ndarray] = []
        self.layout: Layout | None = None
        self.state: TrainState | None = None

    def recorded_steps(self) -> list[int]:
        """The number of steps taken at each record."""
        return self.steps

    def on_state(self, state: TrainState) -> None:
        """Records the parameters.

        Args:
            state: the train state.

        Raises:
            TypeError: a parameter is not of real floating-point numbers.
            ValueError: the parameters have other shapes than those recorded before, or the run is
                another one, at an earlier step.
        """
        layout = layout_of(state.params)
        if self.layout not in (None, layout):
            raise ValueError(
                "PathRecorder: the parameters have other shapes than those recorded before; take"
                " a new recorder for another model"
            )
        step = int(state.step)
        self.check_goes_on(step)
        if self.steps and step == self.steps[-1]:
            return
        # The next step takes over the buffers.
        small = {"opt_state": None, "average_state": None, "stopping_state": None}
        self.layout, self.state = layout, jax.tree.map(copy, state.replace(**small))
        self.steps.append(step)
        self.points.append(vector_of(state.params))

    def params(self, record: int) -> Params:
        """The parameters of a record, in their shapes and dtypes.

        Args:
            record: its number, 0 for the start, -1 for the last.

        Raises:
            ValueError: nothing is recorded yet.
        """
        if self.layout is None:
            raise self.nothing("params", IN_A_RUN)
        return self.layout.tree(self.points[record])

    def plot(
        self, objective: Any, data: Any, *, path: str | os.PathLike | None = None, **options: Any
    ) -> Any:
        """Draws the path in a plane with the loss around it.

        Args:
            objective: the objective that was minimized.
            data: the data on which the loss is computed, a tree of arrays.
            path: path of the picture; not saved if None.
            **options: further arguments of :func:`plot_path`.

        Returns:
            The matplotlib figure.

        Raises:
            ValueError: nothing is recorded yet.
        """
        from fnopt.lab.path_picture import plot_path

        if not self.points:
            raise self.nothing("plot", IN_A_RUN)
        return plot_path({"": self}, objective, data, path=path, **options)
