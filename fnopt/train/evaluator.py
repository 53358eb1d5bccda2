"""Evaluates a run where an evaluation is due, and puts the watched metric into its state."""

from __future__ import annotations

import dataclasses

from fnopt.train.evaluate import means_over, observe, observed
from fnopt.train.evaluation_data import EvaluationData
from fnopt.train.objective import Objective
from fnopt.train.precision import Precision
from fnopt.train.record import Position
from fnopt.train.state import TrainState


@dataclasses.dataclass(frozen=True)
class Evaluator:
    """Evaluates the state of a run.

    Attributes:
        objective: the objective to minimize.
        data: the examples to evaluate; None for none.
        monitor: name of the watched metric.
        every: steps between two evaluations; None for one after each epoch.
        precision: precision of the run.
    """

    objective: Objective
    data: EvaluationData | None
    monitor: str
    every: int | None
    precision: Precision | None

    def is_due(self, position: Position) -> bool:
        """Whether an evaluation belongs to this position."""
        if self.every:
            return position.steps_done % self.every == 0
        return self.data is not None and position.epoch_over

    def evaluate(self, state: TrainState) -> tuple[TrainState, dict[str, float], float]:
        """Evaluates a state.

        Returns:
            The state that has observed the watched metric, all metrics with the prefix ``test_``,
            and the watched one.
        """
        assert self.data is not None
        metrics = means_over(
            self.objective, state.eval_params, state.model_state, self.data, self.precision
        )
        monitored = metrics[self.monitor]
        # Compiled where it copies parameters: those of the best evaluation.
        state = (observe if state.stopping is None else observed)(state, monitored)
        return state, {f"test_{name}": float(x) for name, x in metrics.items()}, float(monitored)
