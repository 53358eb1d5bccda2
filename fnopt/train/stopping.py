"""Early stopping: a value beside the optimizer that ends a run whose figure no longer improves."""

from __future__ import annotations

import dataclasses
from typing import Annotated, Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from fnopt.core.checks import Interval
from fnopt.core.fields import Field, Static
from fnopt.core.schedule import map_leaves, to_dtype
from fnopt.core.value import Value
from fnopt.schedule.plateau import count_bad


class StoppingState(NamedTuple):
    """What :class:`early_stopping` remembers.

    Attributes:
        stop: whether the run is over; once set it stays, and nothing more is taken in.
        best: the best figure so far.
        bad: evaluations since that were no better.
        evaluations: the number of the last evaluation taken in.
        best_params: what there was at the best figure; None without ``restore_best``.
    """

    stop: jax.Array
    best: jax.Array
    bad: jax.Array
    evaluations: jax.Array
    best_params: Any


class early_stopping(Value):
    r"""Ends a run when the figure of its evaluations stops improving.

    A figure :math:`x` is better than the best :math:`b` so far if :math:`x < b - \delta`
    (``mode="min"``) or :math:`x > b + \delta` (``mode="max"``); NaN is no better. After more than
    ``patience`` evaluations in a row that are not better it sets ``stop``. Two pure functions,
    ``init`` and ``update``, that work inside ``jit`` and under ``vmap``: :func:`fnopt.train.fit`
    keeps value and state in the train state.

    ``params`` is any tree: ``fit`` gives the pair of parameters and model state, so that the best
    parameters come back with the batch statistics that were theirs.

    Args:
        patience: evaluations without improvement that are still borne; the next one stops.
        min_delta: :math:`\delta \ge 0`, how much better a figure must be to count.
        mode: ``"min"`` for a loss, ``"max"`` for an accuracy.
        restore_best: whether to keep what there was at the best figure: memory for one more copy.

    Raises:
        ValueError: an argument is out of its range.

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
    mode: Annotated[Any, Field(static=True, choices=("min", "max"))] = "min"
    _: dataclasses.KW_ONLY
    restore_best: Static[bool] = True

    def init(self, params: Any) -> StoppingState:
        """The state before the first evaluation."""
        dtype = jnp.result_type(float)
        return StoppingState(
            stop=jnp.zeros((), jnp.bool_),
            best=jnp.full((), jnp.inf if self.mode == "min" else -jnp.inf, dtype),
            bad=jnp.zeros((), jnp.int32),
            evaluations=jnp.zeros((), jnp.int32),
            # Copies: a step takes over the buffers of the parameters themselves.
            best_params=jax.tree.map(jnp.array, params) if self.restore_best else None,
        )

    def update(
        self, state: StoppingState, metric: Any, evaluations: Any, params: Any
    ) -> StoppingState:
        """The state after an evaluation.

        Args:
            state: before it.
            metric: its figure.
            evaluations: how many evaluations there have been; a number seen before changes nothing.
            params: what is kept if the figure is the best.
        """
        numbers = map_leaves(self, lambda x: to_dtype(x, state.best.dtype))
        metric = jnp.asarray(metric).astype(state.best.dtype)
        evaluations = jnp.asarray(evaluations).astype(state.evaluations.dtype)
        if self.mode == "min":
            better = metric < state.best - numbers.min_delta
        else:
            better = metric > state.best + numbers.min_delta
        stop, bad, _ = count_bad(better, state.bad, jnp.zeros_like(state.bad), numbers.patience, 0)
        taken = StoppingState(
            stop=stop,
            best=jnp.where(better, metric, state.best),
            bad=bad,
            evaluations=evaluations,
            best_params=(
                optax.tree.where(better, params, state.best_params) if self.restore_best else None
            ),
        )
        new = (evaluations > state.evaluations) & ~state.stop
        return optax.tree.where(new, taken, state)
