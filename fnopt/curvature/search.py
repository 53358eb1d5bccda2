"""The base class of line searches, and the parts of a step with one."""

from __future__ import annotations

from typing import Any, ClassVar

from fnopt.core import Outcome, Transform, identity, scale, scale_by_learning_rate
from fnopt.core.checks import refuse_state
from fnopt.core.types import OptState, Params, Updates
from fnopt.curvature.line import Line, Point, like_state, line_of


class Search(Transform):
    """A line search as a transform: it finds how far to go along the updates.

    A subclass has ``State``, a named tuple with the loss and the gradient at the end of the step,
    and defines :meth:`search`.
    """

    family = ""
    State: ClassVar[Any]

    @property
    def evaluates(self) -> bool | None:
        return True

    def search(self, line: Line, state: OptState) -> tuple[Point, OptState]:
        """The point of the line to go to, and the next state in any dtypes.

        Args:
            line: the loss along the updates.
            state: the state before the update.
        """
        raise NotImplementedError

    def update(
        self,
        updates: Updates,
        state: OptState,
        params: Params = None,
        *,
        value: Any = None,
        grad: Updates | None = None,
        **extra_args: Any,
    ) -> tuple[Any, Any]:
        if getattr(state, "_fields", None) != self.State._fields:
            refuse_state(self, state)
        line = line_of(self, updates, params, value, grad, extra_args)
        point, new = self.search(line, state)
        return line.update(point.step), like_state(new, state)

    def outcome(self, state: OptState) -> Outcome:
        evaluated = state.info.num_linesearch_steps
        return Outcome(state.value, state.grad, evaluated, evaluated)


def length(learning_rate: Any, linesearch: Transform | None) -> tuple[Transform, Transform]:
    """The two parts that turn a direction like the gradient into a step: rate and line search.

    Args:
        learning_rate: factor of the direction; 1 if None.
        linesearch: the line search after it; none if None.
    """
    rate = scale(-1.0) if learning_rate is None else scale_by_learning_rate(learning_rate)
    return rate, identity() if linesearch is None else linesearch
