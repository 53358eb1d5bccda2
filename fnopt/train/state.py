"""A training run as one value: what it has reached and what it goes on with."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import optax

from fnopt.core.transform import as_transform
from fnopt.train.objective import Objective


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class TrainState:
    """Everything that a training step changes or depends on, but the data.

    Attributes:
        params: the parameters.
        model_state: what the forward pass changes beside them (batch statistics).
        tx: the optimizer, a value like the rest: its numbers are arrays here.
        opt_state: the optimizer's state.
        step: updates made so far.
        key: the run's key; every step's own key is folded from it by ``step``.
        metric: the last evaluation's watched figure, NaN before the first.
        evaluations: how many evaluations there have been.
        stopping: early stopping, a value like the optimizer, or None.
        stopping_state: its state; its ``best_params`` are a pair of parameters and model state.
    """

    params: Any
    model_state: Any
    tx: Any
    opt_state: Any
    step: jax.Array
    key: jax.Array
    metric: jax.Array
    evaluations: jax.Array
    stopping: Any = None
    stopping_state: Any = None

    @classmethod
    def create(
        cls,
        objective: Objective,
        tx: optax.GradientTransformation,
        key: Any,
        batch: Any = None,
        *,
        stopping: Any = None,
    ) -> TrainState:
        """The state before the first step.

        Its arrays are copies: steps take over the buffers of the state they are given, and those
        of the model or of an optimizer in use elsewhere must not go with them.

        Args:
            objective: what is minimized.
            tx: an optimizer, of fnopt or of optax.
            key: a PRNG key, or an integer to make one.
            batch: an example batch, for models whose shapes follow from it (Linen).
            stopping: :class:`fnopt.train.early_stopping`, or None.
        """
        if key is None:
            raise TypeError("TrainState.create: key must be a PRNG key or an integer, got None")
        if jnp.ndim(key) == 0 and jnp.issubdtype(jnp.result_type(key), jnp.integer):
            key = jax.random.key(key)
        params, model_state = objective.init(key, batch)
        params, model_state, tx, key, stopping = jax.tree.map(
            copy, (params, model_state, as_transform(tx), key, stopping)
        )
        return cls(
            params=params,
            model_state=model_state,
            tx=tx,
            opt_state=jax.tree.map(copy, tx.init(params)),
            step=jnp.zeros((), jnp.int32),
            key=key,
            metric=jnp.full((), jnp.nan, jnp.result_type(float)),
            evaluations=jnp.zeros((), jnp.int32),
            stopping=stopping,
            stopping_state=None if stopping is None else stopping.init((params, model_state)),
        )

    def replace(self, **changes: Any) -> TrainState:
        """A copy with other fields."""
        return dataclasses.replace(self, **changes)


def copy(x: Any) -> jax.Array:
    """An array of its own; a Python float becomes one without a weak type."""
    return jnp.array(x, dtype=jnp.result_type(x) if isinstance(x, (int, float)) else None)
