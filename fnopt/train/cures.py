"""What to do about values that are not finite, by where they began."""

from __future__ import annotations

from typing import Any

import numpy as np

from fnopt.core.types import Batch, PyTree
from fnopt.train.about import by_path
from fnopt.train.labels import check_labels
from fnopt.train.objective import Objective
from fnopt.train.state import TrainState

MOST = 5
"""Number of examples that are named."""

_USUAL = "A lower learning rate, a warm-up or clip_by_global_norm are the usual cures"

_BY_START = {
    "params": "They were not finite before this step: look where they come from",
    "model_state": "It was not finite before this step: look at the batches of earlier steps",
    "outputs": f"The model computes them from finite numbers. {_USUAL}",
    "the loss": "The outputs are finite: look for a logarithm or a division by 0 in the loss, and"
    " at the targets",
    "gradient": "The loss is finite, its derivative is not: look for a root, a norm or a division"
    " at 0 (an eps inside helps), or for an overflow (a lower learning rate helps)",
    "the update": "The gradient is finite: a lower learning rate or a larger eps of the optimizer"
    " helps",
}
"""The advice by the first words of where it began."""


def cure_of(
    objective: Objective,
    state: TrainState,
    batch: Batch,
    where: tuple[str, ...],
    number: int,
    data: PyTree = None,
) -> str:
    """What to do about a step that is not finite, in a sentence or two.

    Args:
        objective: the objective to minimize.
        state: the state before the step.
        batch: the batch of the step.
        where: where it began, as :func:`~fnopt.train.diagnosis.locate_nonfinite` says.
        number: number of the batch in the epoch, from 0.
        data: all examples, where they are in memory; None where they come in batches.
    """
    try:
        return _cure(objective, state, batch, where, number, data)
    except Exception:  # advice on an error must not hide it
        return _USUAL


def _cure(
    objective: Objective,
    state: TrainState,
    batch: Batch,
    where: tuple[str, ...],
    number: int,
    data: PyTree,
) -> str:
    first = where[0] if where else ""
    if first.partition(".")[0] == "batch":
        return _of_examples(first.partition(".")[2], batch, number, data)
    if first.startswith("the loss"):
        try:
            check_labels(objective, state, batch, name="the batch")
        except ValueError as error:
            return f"{error}"[0].upper() + f"{error}"[1:]
    return next((cure for start, cure in _BY_START.items() if first.startswith(start)), _USUAL)


def _of_examples(path: str, batch: Batch, number: int, data: PyTree) -> str:
    """Which examples have a value that is not finite, of all where they are in memory."""
    bad, of = _not_finite(data, path), "the data"
    if not bad.any():  # not in memory, or not finite by augmentation alone
        bad, of = _not_finite(batch, path), f"batch {number} of the epoch, counted from 0"
    rows = np.flatnonzero(bad)
    named = ", ".join(map(str, rows[:MOST])) + ", …" * (rows.size > MOST)
    return (
        f"NaN or infinity is in {rows.size} of {bad.size} examples of {of} (number {named}). Leave"
        " them out, or fill such values in; np.isfinite finds them"
    )


def _not_finite(tree: PyTree, path: str) -> np.ndarray:
    """Whether each example has a value that is not finite, in the array of a path."""
    leaves: dict[str, Any] = {} if tree is None else by_path(tree)
    if path not in leaves:
        return np.zeros(0, np.bool_)
    array = np.asarray(leaves[path])
    return np.any(~np.isfinite(array).reshape(len(array), -1), axis=1)
