"""Integer labels that no output belongs to: found before the first step, where they can be seen.

A loss of optax gives NaN for a label that is too large, and takes a negative one from the end;
neither raises under ``jit``.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from fnopt.core.types import PyTree
from fnopt.data.numbers import is_traced
from fnopt.train.metrics import accuracy, takes_classes
from fnopt.train.objective import Objective
from fnopt.train.precision import Precision, forward
from fnopt.train.programs import per_objective
from fnopt.train.state import TrainState

MOST = 5
"""Number of examples that are named."""


class _Outside(NamedTuple):
    """The labels that are out of range.

    Attributes:
        classes: number of outputs.
        examples: whether an example has such a label; none if the targets are no integers.
        count: number of examples, without those of weight 0.
        least, largest: the range of all labels.
    """

    classes: Any = 0
    examples: Any = ()
    count: Any = 0
    least: Any = 0
    largest: Any = 0


def check_labels(
    objective: Objective,
    state: TrainState,
    data: PyTree,
    *,
    name: str = "the data",
    train: bool = True,
    precision: Precision | None = None,
    batch_size: int | None = None,
    weights: Any = None,
) -> None:
    """Refuses integer labels that are not the number of an output, of a loss that needs such.

    Args:
        objective: the objective to minimize.
        state: a train state.
        data: examples along the first axis.
        name: name of the data in messages.
        train: whether the model is called as in training, from which its outputs follow.
        precision: the precision of the run.
        batch_size: number of examples that the model is called with; all of them if None.
        weights: weights of the examples where the first axis of the data is of batches, and the
            second of examples; those of weight 0 do not count. None where there is no such axis.

    Raises:
        ValueError: there are such labels; says how many, and of which examples.
    """
    functions = objective.loss_fn, *objective.metric_fns.values()
    # The accuracy is defined for labels without an output, which a loss may leave out: it is 0.
    functions = [function for function in functions if function is not accuracy]
    if not any(map(takes_classes, functions)) or any(
        map(is_traced, jax.tree.leaves((state, data)))
    ):
        return
    outside = _outside(objective, state, data, weights, train, precision, batch_size)
    bad, classes = np.flatnonzero(outside.examples), int(outside.classes)
    if not bad.size:
        return
    least, largest = int(outside.least), int(outside.largest)
    named = ", ".join(map(str, bad[:MOST])) + ", …" * (bad.size > MOST)
    raise ValueError(
        f"the labels of {name} must lie in [0, {classes}), as the model has {classes} outputs, but"
        f" they range from {least} to {largest}: {bad.size} of {int(outside.count)} examples"
        f" are outside (number {named}). {_cure(least, largest, classes)}"
    )


def _cure(least: int, largest: int, classes: int) -> str:
    if least > 0 and largest - least < classes:
        return f"Count them from 0, labels - {least}"
    if least >= 0:
        return f"Give the model {largest + 1} outputs, or number the labels from 0"
    shift = f"; or count from 0, labels + {-least}" * (largest - least < classes)
    return f"Leave these examples out, or give them weight 0 by weights={shift}"


@per_objective(static_argnums=(4, 5, 6))
def _outside(
    objective: Objective,
    state: TrainState,
    data: PyTree,
    weights: jax.Array | None,
    train: bool,
    precision: Precision | None,
    batch_size: int | None,
) -> _Outside:
    if weights is not None:
        data = jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), data)
    try:
        targets = objective.targets(data)
    except Exception:  # it may take batches alone; if it is wrong, the step says so
        return _Outside()
    if not hasattr(targets, "dtype") or not jnp.issubdtype(targets.dtype, jnp.integer):
        return _Outside()
    # Its values are not used.
    batch = jax.tree.map(lambda x: x[:batch_size] if jnp.ndim(x) and batch_size else x, data)
    outputs, _ = jax.eval_shape(
        lambda batch, key: forward(
            objective, precision, state.params, state.model_state, batch,
            key=key if train else None, train=train,
        ),
        batch, state.key,
    )  # fmt: skip
    if not hasattr(outputs, "shape") or outputs.shape[1:-1] != targets.shape[1:]:
        return _Outside()  # refused by the loss
    classes = outputs.shape[-1]
    # In the dtype of the labels, in which 256 would be 0.
    bad = (targets < 0) | (targets > min(classes - 1, jnp.iinfo(targets.dtype).max))
    bad, counted = jnp.any(bad, axis=tuple(range(1, bad.ndim))), jnp.ones(len(bad), jnp.bool_)
    for weight in (weights, objective.example_weights(data)):
        if weight is not None:
            counted &= weight.reshape(-1) != 0
    return _Outside(classes, bad & counted, jnp.sum(counted), jnp.min(targets), jnp.max(targets))
