"""The sizes of an optimizer's steps along a run, by leaf of the parameters."""

from __future__ import annotations

import os
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from fnopt.core import Transform, chain, computing_dtype
from fnopt.core.checks import one_of
from fnopt.core.recorder import Recorder
from fnopt.core.select import Pattern, matches, path_name
from fnopt.core.types import OptState, Params, Updates
from fnopt.train.state import TrainState
from fnopt.wrap.monitor import monitor

NAME = "step sizes"
"""Name of the measurement in the state of the optimizer."""
QUANTITIES = {
    "ratio": "norm of the step / norm of the parameters",
    "rms": "root mean square of the step",
}
"""What can be drawn, with the labels of their axes."""


class step_sizes(Transform):
    """A measure for :class:`fnopt.monitor`: for each leaf the root mean square and the ratio."""

    def init(self, params: Params) -> OptState:
        return optax.EmptyState()

    def update(
        self, updates: Updates, state: OptState, params: Params = None, **extra_args: Any
    ) -> tuple[Updates, OptState]:
        pairs = zip(jax.tree.leaves(updates), jax.tree.leaves(params), strict=True)
        measured = [(_rms(step), _rms(step) / _rms(param)) for step, param in pairs]
        return jnp.asarray(measured, jnp.float32).reshape(-1, 2), state

    def __repr__(self) -> str:
        return "step_sizes"


def _rms(x: Any) -> jax.Array:
    wide = jnp.abs(jnp.asarray(x).astype(computing_dtype(x.dtype))).ravel()
    return jnp.sqrt(jnp.mean(wide**2)).astype(jnp.float32)


class StepSizeRecorder(Recorder):
    """Records how far an optimizer moves each leaf of the parameters in a step, along a run.

    It is a callback that measures in the compiled step: ``fit(task, recorder.watch(tx), data, …,
    callbacks=[recorder])``. A measurement costs one pass over step and parameters. Then
    ``recorder.plot()`` draws the records, the sizes of one step in every few.

    A recorder is for one run, which may be ended and resumed.

    Args:
        every: the number of steps from one record to the next, above 0.

    Attributes:
        steps: a list of the numbers of steps taken, one for each record.
        paths: the paths of the leaves.
        rms: for each record the root mean square of the numbers of the step, an array with one
            number for each leaf.
        ratio: for each record the norm of the step divided by that of the parameters, likewise;
            infinite where all parameters of a leaf are 0.

    >>> import numpy as np
    >>> import fnopt
    >>> from fnopt.lab import StepSizeRecorder
    >>> from fnopt.train import fit, objective
    >>> task = objective(lambda w, x: x @ w, "squared_error", params=np.ones(3, "f4"))
    >>> data = np.eye(3, dtype="f4"), np.zeros(3, "f4")
    >>> recorder = StepSizeRecorder(every=2)
    >>> tx = recorder.watch(fnopt.sign_sgd(0.5))
    >>> result = fit(task, tx, data, epochs=2, batch_size=None, callbacks=[recorder])
    >>> recorder.steps, [x.tolist() for x in recorder.rms], [x.tolist() for x in recorder.ratio]
    ([2], [[0.5]], [[1.0]])
    """

    def __init__(self, every: int = 1) -> None:
        super().__init__(every)
        self.steps: list[int] = []
        self.paths: tuple[str, ...] = ()
        self.rms: list[np.ndarray] = []
        self.ratio: list[np.ndarray] = []

    def watch(self, tx: optax.GradientTransformation) -> Transform:
        """The same optimizer, which also keeps the sizes of its last step in its state.

        Args:
            tx: the optimizer.
        """
        return chain(tx, monitor({NAME: step_sizes()}))

    def recorded_steps(self) -> list[int]:
        """The number of steps taken at each record."""
        return self.steps

    def on_state(self, state: TrainState) -> None:
        """Records the sizes of the last step; nothing before the first.

        Args:
            state: the train state.

        Raises:
            ValueError: the optimizer is not one that :meth:`watch` returned, or the run is another
                one than that recorded before, at an earlier step.
        """
        measured = optax.tree.get(state.opt_state, NAME)
        if measured is None:
            raise ValueError(
                "StepSizeRecorder: the optimizer does not measure its steps; give fit the one that"
                " recorder.watch(tx) returns"
            )
        step = int(state.step)
        self.check_goes_on(step)
        if step == 0 or step in self.steps[-1:]:
            return
        paths = jax.tree_util.tree_flatten_with_path(state.params)[0]
        self.paths = tuple(path_name(path) for path, _ in paths)
        rms, ratio = np.array(measured).T
        self.steps.append(step)
        self.rms.append(rms)
        self.ratio.append(ratio)

    def plot(
        self,
        quantity: str = "ratio",
        *,
        where: Pattern = "*",
        title: str = "",
        theme: str = "light",
        path: str | os.PathLike | None = None,
    ) -> Any:
        """Draws the sizes: a line for each leaf, or, of more than eight, a row of a heat map.

        A ratio that is infinite, as that of the first step from parameters of 0, is left out.

        Args:
            quantity: ``"ratio"`` for the norm of the step divided by that of the parameters,
                ``"rms"`` for the root mean square of the step.
            where: which leaves: a glob of their paths such as ``"*kernel"``, several, or a function
                of path and leaf.
            title: title above it.
            theme: ``"light"`` or ``"dark"``.
            path: path of the picture; not saved if None.

        Returns:
            The figure, which a notebook shows.

        Raises:
            ImportError: matplotlib is not installed.
            ValueError: nothing is recorded yet, there is no such quantity, or no leaf of that name.
        """
        from fnopt.lab.step_size_picture import plot_step_sizes

        one_of("StepSizeRecorder.plot: quantity", quantity, tuple(QUANTITIES))
        if not self.steps:
            raise self.nothing(
                "plot",
                "; it records in a run, fit(task, recorder.watch(tx), data, …,"
                " callbacks=[recorder])",
            )
        chosen = [i for i, name in enumerate(self.paths) if matches(where, name, None)]
        if not chosen:
            raise ValueError(
                f"StepSizeRecorder.plot: where={where!r} is the path of no leaf; there are"
                f" {', '.join(self.paths):.200}"
            )
        sizes = {self.paths[i]: np.stack(getattr(self, quantity))[:, i] for i in chosen}
        return plot_step_sizes(self.steps, sizes, QUANTITIES[quantity], title, theme, path)
