"""Evaluates a run where an evaluation is due, and puts the watched metric into its state."""

from __future__ import annotations

import dataclasses

from fnopt.core.types import Metrics
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
        sets: the examples to evaluate, by the name that precedes their metrics; may be empty.
        monitor: name of the watched metric, with that of its set.
        every: steps between two evaluations; None for one after each epoch.
        precision: precision of the run.
    """

    objective: Objective
    sets: dict[str, EvaluationData]
    monitor: str
    every: int | None
    precision: Precision | None

    def is_due(self, position: Position) -> bool:
        """Whether an evaluation belongs to this position."""
        if self.every:
            return position.steps_done % self.every == 0
        return bool(self.sets) and position.epoch_over

    def evaluate(self, state: TrainState) -> tuple[TrainState, dict[str, float], float]:
        """Evaluates a state.

        Returns:
            The state that has observed the watched metric, the metrics of all sets by their names
            in the history, and the watched one.
        """
        metrics = {
            f"{name}_{metric}": x
            for name, data in self.sets.items()
            for metric, x in self._means(state, data).items()
        }
        monitored = metrics[self.monitor]
        # Compiled where it copies parameters: those of the best evaluation.
        state = (observe if state.stopping is None else observed)(state, monitored)
        return state, {name: float(x) for name, x in metrics.items()}, float(monitored)

    def _means(self, state: TrainState, data: EvaluationData) -> Metrics:
        evaluated = state.stored_eval_params, state.stored.model_state
        return means_over(self.objective, *evaluated, data, self.precision)
