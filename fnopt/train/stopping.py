"""Early stopping: a value next to the optimizer that ends a run whose metric no longer improves."""

from __future__ import annotations

import dataclasses
import math
from typing import Annotated, Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from fnopt.core.checks import Interval
from fnopt.core.fields import Field, Static
from fnopt.core.schedule import map_leaves, to_dtype
from fnopt.core.types import Params
from fnopt.core.value import Value
from fnopt.core.warn import warn_caller
from fnopt.schedule.plateau import count_bad
from fnopt.train.state import TrainState


class StoppingState(NamedTuple):
    """State of :class:`early_stopping`.

    Attributes:
        stop: whether the run is over; once set it stays, and evaluations change nothing more.
        best: the best metric so far.
        bad: number of evaluations since then that were no better.
        evaluations: number of the last evaluation seen.
        best_params: the parameters at the best metric; None without ``restore_best``.
    """

    stop: jax.Array
    best: jax.Array
    bad: jax.Array
    evaluations: jax.Array
    best_params: Any


class early_stopping(Value):
    r"""Ends a run when a metric of its evaluations stops improving.

    A metric :math:`x` is better than the best :math:`b` so far if :math:`x < b - \delta`
    (``mode="min"``) or :math:`x > b + \delta` (``mode="max"``); NaN is no better. After more than
    ``patience`` evaluations in a row that are not better it sets ``stop``. Two pure functions,
    ``init`` and ``update``, that work inside ``jit`` and under ``vmap``: :func:`fnopt.train.fit`
    keeps value and state in the train state.

    ``params`` is any tree: ``fit`` passes the pair of parameters and model state, so that the best
    parameters come back with their batch statistics.

    Args:
        patience: number of evaluations without improvement that are allowed; the next one stops.
        min_delta: :math:`\delta \ge 0`, the smallest improvement of the metric that counts.
        mode: ``"min"`` for a loss, ``"max"`` for an accuracy; with None ``fit`` reads it from the
            metric (see :func:`fnopt.train.maximized`), and it is ``"min"`` elsewhere.
        restore_best: whether to store the parameters at the best metric: memory of one more copy.

    Raises:
        ValueError: an argument is out of its range, or ``patience`` is no integer.

    >>> import fnopt.train, jax.numpy as jnp
    >>> stopping = fnopt.train.early_stopping(patience=1)
    >>> state = stopping.init(jnp.zeros(()))
    >>> for n, loss in enumerate((2.0, 1.0, 1.5, 1.0), 1):
    ...     state = stopping.update(state, loss, n, jnp.float32(n))
    >>> bool(state.stop), float(state.best), float(state.best_params)
    (True, 1.0, 2.0)
    """

    patience: Annotated[Any, Field(Interval("[0, inf)"))] = 5.0
    min_delta: Annotated[Any, Field(Interval("[0, inf)"))] = 0.0
    mode: Annotated[Any, Field(static=True, choices=("min", "max"))] = None
    _: dataclasses.KW_ONLY
    restore_best: Static[bool] = True

    def __post_init__(self) -> None:
        super().__post_init__()
        if isinstance(self.patience, float) and not self.patience.is_integer():
            raise ValueError(
                "early_stopping: patience is a number of evaluations, an integer such as"
                f" {math.ceil(self.patience)}; got {self.patience!r}"
            )

    def init(self, params: Params) -> StoppingState:
        """The state before the first evaluation."""
        dtype = jnp.result_type(float)
        return StoppingState(
            stop=jnp.zeros((), jnp.bool_),
            best=jnp.full((), self._worst, dtype),
            bad=jnp.zeros((), jnp.int32),
            evaluations=jnp.zeros((), jnp.int32),
            # Copies: a step takes over the buffers of the parameters themselves.
            best_params=jax.tree.map(jnp.array, params) if self.restore_best else None,
        )

    def update(
        self, state: StoppingState, metric: Any, evaluations: Any, params: Params
    ) -> StoppingState:
        """The state after an evaluation.

        Args:
            state: the state before the evaluation.
            metric: the watched metric, a number.
            evaluations: number of evaluations so far; one seen before changes nothing.
            params: any tree; stored if the metric is the best.
        """
        numbers = map_leaves(self, lambda x: to_dtype(x, state.best.dtype))
        metric = jnp.asarray(metric).astype(state.best.dtype)
        evaluations = jnp.asarray(evaluations).astype(state.evaluations.dtype)
        if self.mode == "max":
            better = metric > state.best + numbers.min_delta
        else:
            better = metric < state.best - numbers.min_delta
        stop, bad, _ = count_bad(better, state.bad, jnp.zeros_like(state.bad), numbers.patience, 0)
        updated = StoppingState(
            stop=stop,
            best=jnp.where(better, metric, state.best),
            bad=bad,
            evaluations=evaluations,
            best_params=(
                optax.tree.where(better, params, state.best_params) if self.restore_best else None
            ),
        )
        new = (evaluations > state.evaluations) & ~state.stop
        return optax.tree.where(new, updated, state)

    def has_best(self, state: StoppingState) -> bool:
        """Whether some evaluation gave a number, so that ``best_params`` are those of the best."""
        return bool(state.best != self._worst)

    def reconsider(self, state: StoppingState, patience: Any) -> StoppingState:
        """The state with the decision of this value's ``patience`` instead of an earlier one.

        Args:
            state: a state after some evaluations.
            patience: the patience that the state was initialized with.
        """
        # A stop sets the count back to 0; it had exceeded the patience by one.
        beyond = jnp.floor(jnp.asarray(patience)).astype(state.bad.dtype) + 1
        bad = jnp.where(state.stop, beyond, state.bad)
        stop = bad.astype(state.best.dtype) > self.patience
        return state._replace(stop=stop, bad=jnp.where(stop, jnp.zeros_like(bad), bad))

    def restart(self, state: StoppingState) -> StoppingState:
        """The state with which a stopped run continues: the best stays."""
        return state._replace(stop=jnp.zeros_like(state.stop), bad=jnp.zeros_like(state.bad))

    @property
    def _worst(self) -> float:
        return -math.inf if self.mode == "max" else math.inf


def best_of(state: TrainState) -> TrainState:
    """The train state with the best parameters stored by early stopping, and their model state.

    They are the parameters that the optimizer's method asks to evaluate, and stay so in the state.
    Where no evaluation gave a number, none is the best: the state itself, with a warning.

    Args:
        state: a train state, with early stopping or without.
    """
    stopping, stopping_state = state.stopping, state.stopping_state
    if stopping is None:
        return state
    if not stopping.has_best(stopping_state):
        evaluations = int(state.evaluations)
        had = f"none of {evaluations} evaluations gave a number" if evaluations else "none was due"
        warn_caller(
            f"fit: early stopping has seen no evaluation ({had}); the state is that after the last"
            " step, not the best"
        )
        return state
    if stopping_state.best_params is None:
        return state
    # Copies: a step takes over the buffers of both.
    params, model_state = jax.tree.map(lambda x: x.copy(), stopping_state.best_params)
    return state.moved_to(params, model_state)
