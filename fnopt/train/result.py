"""The result of a run: its last or best state, and what one does with it."""

from __future__ import annotations

import dataclasses
import functools
from pathlib import Path
from typing import Any

from fnopt.core.types import PyTree
from fnopt.train.best import Best, best_evaluation
from fnopt.train.history import History
from fnopt.train.objective import Objective
from fnopt.train.precision import Precision
from fnopt.train.predict import predict
from fnopt.train.reprs import call, listed, number, size, wrapped
from fnopt.train.state import TrainState
from fnopt.train.summaries import NO_METRICS
from fnopt.train.watch import Mode


@dataclasses.dataclass(frozen=True, repr=False)
class FitResult:
    """The result of a run.

    Attributes:
        state: the state after the last step; with early stopping that restores, the best parameters
            and their model state, unless the run was interrupted.
        history: a record for each epoch.
        steps_per_second: speed of training, compilation and evaluation not counted.
        interrupted: whether Ctrl-C or SIGTERM ended the run.
        ended: what ended it: ``"epochs"``, ``"early stopping"``, ``"on_epoch"`` or
            ``"interrupted"``.
        last: the state after the last step, to continue from.
        checkpoint: the last checkpoint that was written; None if there was none.
        objective: the objective that was minimized. A pickled result has none.
        precision: the precision of the run; None if it had none.
        monitor: name of the watched metric, as in the history.
        monitor_mode: whether its smallest (``"min"``) or its largest value (``"max"``) is the best.

    >>> import numpy as np, fnopt
    >>> from fnopt.train import fit, objective
    >>> x = np.linspace(-1, 1, 64, dtype=np.float32)
    >>> task = objective(lambda params, x: params * x, "squared_error", params=np.float32(0))
    >>> result = fit(task, fnopt.sgd(0.3), (x, 3 * x), epochs=20, validation_data=(x, 3 * x))
    >>> result.ended, result.best.epoch
    ('epochs', 20)
    >>> result.predict(np.array([-1, 2], np.float32)).round(2)
    array([-3.,  6.], dtype=float32)
    >>> result.model(2.0).round(2)
    Array(6., dtype=float32)
    """

    state: TrainState
    history: History
    steps_per_second: float
    interrupted: bool = False
    ended: str = "epochs"
    last: TrainState | None = None
    checkpoint: Path | None = None
    objective: Objective | None = None
    precision: Precision | None = None
    monitor: str = "val_loss"
    monitor_mode: Mode = "min"

    def __getattr__(self, name: str) -> Any:
        # Called for what is no attribute, and where a property raises an AttributeError of its own.
        if hasattr(type(self), name):
            return object.__getattribute__(self, name)
        message = f"the result of a run has no attribute {name!r}"
        fields = vars(self)
        if "state" in fields and name in vars(self.state):
            message += f"; take result.state.{name}"
        elif "history" in fields and name in self.history.names():
            message += f"; take result.history[{name!r}]"
        raise AttributeError(message)

    def __getitem__(self, name: str) -> Any:
        raise TypeError(f"the result of a run has no items; take result.history[{name!r}]")

    @functools.cached_property
    def model(self) -> Any:
        """The trained model, as :meth:`Objective.model` returns it.

        A Flax NNX model in evaluation mode, a bound Linen module, an Equinox module in inference
        mode, or a function with its parameters. It has the parameters that an evaluation of
        ``state`` takes, :attr:`TrainState.eval_params`; it has copies of them, in the precision in
        which they are stored. If the run keeps an ``average``, the model with that is::

            state = averaged(objective, result.state, data)
            objective.model(state.eval_params, state.model_state)

        Raises:
            ValueError: the result was pickled.
        """
        return self._objective("model").model(self.state.eval_params, self.state.model_state)

    def predict(self, inputs: Any, batch_size: int | None = 1024) -> PyTree:
        """The outputs of the trained model for all examples, in evaluation mode.

        They are those of ``state`` in the precision of the run; see :func:`fnopt.train.predict`.

        Args:
            inputs: the model's inputs, with examples along the first axis; a pair such as
                ``(images, labels)``, of which the labels are not used; or batches of these.
            batch_size: examples at a time; all of them if None. Ignored for batches.

        Returns:
            NumPy arrays with the examples along the first axis, in their order.

        Raises:
            ValueError: the result was pickled; or what :func:`fnopt.train.predict` raises.
        """
        task = self._objective("predict")
        return predict(task, self.state, inputs, batch_size, precision=self.precision)

    @property
    def best(self) -> Best | None:
        """The best evaluation of the run in the watched metric; None if there was none.

        Where its checkpoint was kept (the best one is, by default), this is its state::

            if result.best and result.best.checkpoint:
                state = restore(result.best.checkpoint, result.state)

        With early stopping that restores and no ``min_delta``, ``state`` has these parameters
        already.
        """
        folder = None if self.checkpoint is None else self.checkpoint.parent
        return best_evaluation(self.history, self.monitor, self.monitor_mode, folder)

    def __repr__(self) -> str:
        last = self.history.records[-1] if self.history.records else {}
        names = sorted(last.keys() - set(NO_METRICS), key=lambda name: (name != "loss", name))
        shown = {name: number(last[name]) for name in names}
        if best := self.best:
            value = shown.get(best.metric, "nan")
            shown[best.metric] = f"{value} (best {best.value:.4g}, epoch {best.epoch})"
        state = self.state
        return call(
            "FitResult",
            listed(
                {
                    "ended": self.ended,
                    "epochs": len(self.history),
                    "steps": (self.last or state).step,
                    "steps_per_second": round(self.steps_per_second),
                }
            ),
            wrapped(f"{name}={x}" for name, x in shown.items()),
            f"state=TrainState(step={number(state.step)}, <{size(state.params, 'parameters')}>, …)",
            "" if self.checkpoint is None else f"checkpoint='{self.checkpoint}'",
        )

    def __copy__(self) -> FitResult:
        return dataclasses.replace(self)  # with its objective

    def __getstate__(self) -> dict[str, Any]:
        # Functions of a user's and flax's bound modules cannot be pickled.
        fields = {name: x for name, x in vars(self).items() if name != "model"}
        return fields | {"objective": None}

    def _objective(self, name: str) -> Objective:
        if self.objective is None:
            raise ValueError(
                f"FitResult.{name}: a pickled result has no objective; give it one,"
                " dataclasses.replace(result, objective=…)"
            )
        return self.objective
