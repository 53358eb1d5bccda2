"""The evaluation of an objective outside of a step: what curvature is computed of."""

from __future__ import annotations

from typing import Any

from fnopt.core import Evaluation
from fnopt.core.entry import entry
from fnopt.core.types import Batch
from fnopt.data.numbers import own
from fnopt.train.arguments import check_key, check_objective, check_state
from fnopt.train.data_argument import check_data
from fnopt.train.keys import step_keys
from fnopt.train.measure import Passes, measure_batch
from fnopt.train.objective import Objective
from fnopt.train.options import StepOptions
from fnopt.train.state import TrainState

_USAGE = "evaluation_on(objective, state, batch)"


@entry(_USAGE)
def evaluation_on(
    objective: Objective,
    state: TrainState,
    batch: Batch,
    *,
    train: bool = False,
    key: Any = None,
    accumulate: int = 1,
    precision: Any = None,
) -> Evaluation:
    """The loss of an objective on a batch as functions of the parameters.

    The batch, the key of dropout and the model state stay the same, whatever the parameters. A step
    hands such an evaluation to its optimizer; this one is for what is computed beside a run:
    products with the Hessian, the spectrum, the loss along a line. No parameter is frozen.

    Each call makes new functions, which are compiled anew: to compute one thing at many states,
    compile a function of the state that calls this inside.

    Args:
        objective: the objective to minimize.
        state: a train state, for its model state and its key. Its parameters are not used: pass
            ``state.params``, or others, to the functions.
        batch: the batch, a tree of arrays with examples along the first axis.
        train: False computes as an evaluation does, without dropout and with the running
            statistics; True as a step does, with the dropout of one key and the statistics of the
            batch. A normalization of the model that is built to use its running statistics does so
            in both.
        key: the key of dropout, a PRNG key or an integer to make one; None for that of the step
            from this state. Not used where ``train`` is false.
        accumulate: the number of micro-batches in which the batch is computed one after the other,
            which need the memory of one.
        precision: the precision of the run, if it has one; None leaves dtypes alone.

    Returns:
        The evaluation, with all but ``residuals``.

    Raises:
        TypeError: the objective, the state or the key is something else.
        ValueError: the batch cannot be divided into so many micro-batches.

    >>> import numpy as np
    >>> import fnopt
    >>> from fnopt import curvature
    >>> from fnopt.train import TrainState, evaluation_on, objective
    >>> task = objective(lambda w, x: w * x, "squared_error", params=np.float32(1))
    >>> state = TrainState.create(task, fnopt.sgd(0.1), key=0)
    >>> batch = np.array([1, 2], np.float32), np.array([0, 0], np.float32)
    >>> evaluation = evaluation_on(task, state, batch)
    >>> float(evaluation.value(state.params))
    2.5
    >>> curvature.hessian(evaluation, state.params).dense()
    Array([[5.]], dtype=float32)
    """
    check_objective(_USAGE, objective)
    check_state(_USAGE, state)
    check_data(_USAGE, batch, "batch")
    options = StepOptions(accumulate=accumulate, precision=precision)
    key = step_keys(state).forward if key is None else check_key("evaluation_on", key)
    passes = Passes(objective, options, train=train)
    return measure_batch(passes, state.model_state, own(batch), key)[1]
