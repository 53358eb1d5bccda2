"""Checks of the arguments of ``fit`` that come by position, before a run is made of them."""

from __future__ import annotations

from typing import Any

from fnopt.train.arguments import check_objective, check_optimizer, check_state
from fnopt.train.data_argument import check_data
from fnopt.train.kinds import is_optimizer

USAGE = "fit(objective, tx, data, epochs=…)"
"""The call that is right."""


def check_arguments(objective: Any, tx: Any, data: Any, state: Any) -> None:
    """Refuses arguments of a run that are something else, or in another order.

    Args:
        objective: the objective to minimize.
        tx: the optimizer; None with ``state``.
        data: the training data.
        state: the state to continue from; None for a new one.

    Raises:
        TypeError: one is something else.
        ValueError: the state was consumed by a step.
    """
    check_objective(USAGE, objective)
    if state is not None:
        check_state(USAGE, state)
    if tx is None and state is None:
        raise TypeError(f"{USAGE}: there is no optimizer; give one, such as fnopt.adamw(1e-3)")
    if is_optimizer(data) and not is_optimizer(tx):
        raise TypeError(f"{USAGE}: tx and data are swapped; the optimizer comes first")
    if tx is not None:
        check_optimizer(USAGE, tx)
    check_data(USAGE, data)
