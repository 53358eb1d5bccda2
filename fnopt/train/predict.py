"""Predictions: the outputs of a model for all examples, in evaluation mode."""

from __future__ import annotations

import collections
import contextlib
from typing import Any

import jax
import numpy as np

from fnopt.core.entry import entry
from fnopt.core.types import Batch, ModelState, Outputs, Params, PyTree
from fnopt.train.arguments import check_objective, check_state
from fnopt.train.data_argument import check_data
from fnopt.train.evaluation_data import evaluation_data
from fnopt.train.objective import Objective
from fnopt.train.precision import Precision, forward
from fnopt.train.programs import per_objective
from fnopt.train.state import TrainState

_USAGE = "predict(objective, state, inputs)"


@entry(_USAGE)
def predict(
    objective: Objective,
    state: TrainState,
    inputs: Any,
    batch_size: int | None = None,
    *,
    precision: Any = None,
) -> PyTree:
    """The outputs of the model for all examples, without dropout and with running statistics.

    One compiled program computes all batches; a last one that is shorter is filled up, and what it
    computes for the copies is cut off.

    Args:
        objective: the objective, which has the model.
        state: a train state; the parameters are its :attr:`TrainState.eval_params`, those that an
            evaluation takes. For an average of the parameters give ``averaged(objective, state)``.
        inputs: the inputs of the model, an array or a dict of arrays with examples along the first
            axis; or a pair as :func:`fit` takes it, ``(images, labels)`` or ``(images, None)``, of
            which the second item is not used. For an objective with an ``inputs=`` of its own: what
            that function takes. Or batches of any of these: a loader or another iterable, an
            ``fnopt.data.Batches``, or a function that returns one.
        batch_size: examples at a time; all of them if None. Ignored for batches.
        precision: the precision of the run, if it has one; None leaves dtypes alone.

    Returns:
        The model's outputs, NumPy arrays with the examples along the first axis, in their order.

    Raises:
        TypeError: there is something in the inputs that is no array of numbers, or the batch size
            is no integer.
        ValueError: an output has not one entry for each example, or there is no example.
        DataError: batches raised, are none, or are not like the first.

    >>> import numpy as np, fnopt
    >>> from fnopt.train import TrainState, objective, predict
    >>> task = objective(lambda params, x: params * x, "squared_error", params=np.float32(2))
    >>> state = TrainState.create(task, fnopt.sgd(0.1), key=0)
    >>> predict(task, state, np.arange(3, dtype=np.float32), batch_size=2)
    array([0., 2., 4.], dtype=float32)
    """
    check_objective(_USAGE, objective)
    check_state(_USAGE, state)
    check_data(_USAGE, inputs, "inputs")
    model = state.eval_params, state.model_state
    precision = Precision.named(precision)
    on_device: collections.deque[tuple[Outputs, int]] = collections.deque()
    computed: list[PyTree] = []

    def fetch() -> None:
        outputs, count = on_device.popleft()
        computed.append(jax.tree.map(lambda x: np.asarray(x)[:count], outputs))

    with contextlib.closing(evaluation_data(inputs, batch_size, "predict")) as data:
        for batches, weights in data.parts():
            batches = _as_batch(objective, batches)
            for i, count in enumerate(np.sum(np.asarray(weights) > 0, axis=1)):
                outputs = _outputs(objective, *model, _item(batches, i), precision)
                on_device.append((outputs, int(count)))
                if len(on_device) > _AHEAD:
                    fetch()
    while on_device:
        fetch()
    return jax.tree.map(lambda *parts: np.concatenate(parts), *computed)


_AHEAD = 4
"""Batches that the device computes while the outputs of earlier ones are fetched."""


def _as_batch(objective: Objective, inputs: Any) -> Batch:
    """A batch, as the objective takes it, of the model's inputs."""
    if not _takes_first(objective):
        return inputs
    return inputs[0] if isinstance(inputs, (tuple, list)) else inputs, None


def _takes_first(objective: Objective) -> bool:
    """Whether the model's inputs are the first item of a batch, whatever that is."""
    item = object()
    try:
        return objective.inputs((item, None)) is item
    except Exception:  # a function of other batches: it takes a pair apart, or computes
        return False


def _item(batches: PyTree, i: int) -> Batch:
    """Batch number ``i`` of stacked batches; not in the model's program, which is of one batch."""
    return jax.tree.map(lambda x: jax.lax.dynamic_index_in_dim(x, i, keepdims=False), batches)


@per_objective(static_argnums=(4,))
def _outputs(
    objective: Objective,
    params: Params,
    model_state: ModelState,
    batch: Batch,
    precision: Precision | None,
) -> Outputs:
    """The outputs for a batch, checked to be of its examples."""
    examples = jax.tree.leaves(batch)[0].shape[0]
    outputs, _ = forward(objective, precision, params, model_state, batch, key=None, train=False)
    for path, x in jax.tree_util.tree_flatten_with_path(outputs)[0]:
        if np.shape(x)[:1] != (examples,):
            raise ValueError(
                f"predict: outputs{jax.tree_util.keystr(path)} must have one entry for each of"
                f" {examples} examples along the first axis; the shape is {np.shape(x)}"
            )
    return outputs
