"""The numbers that the next update of an optimizer applies."""

from __future__ import annotations

from typing import Any

import optax

from fnopt.core.entry import entry
from fnopt.core.transform import as_transform
from fnopt.core.types import OptState


@entry(
    "fnopt.hyperparameters(tx, opt_state); with a train state"
    " fnopt.hyperparameters(state.tx, state.opt_state)"
)
def hyperparameters(
    tx: optax.GradientTransformation, state: OptState, **extra_args: Any
) -> dict[str, Any]:
    """What the next update of an optimizer applies, by name.

    In a chain the learning rates of the parts multiply; any other name that two parts share has
    the part's name before it, as in ``"trace.decay"``. Works under ``jit``.

    Args:
        tx: the optimizer.
        state: its state before the update.
        **extra_args: the extra arguments of the update, on which some transforms act.

    Returns:
        A dict of numbers, arrays of no axes.

    >>> import fnopt, jax.numpy as jnp
    >>> tx = fnopt.adam(fnopt.linear_schedule(1.0, 0.0, 10))
    >>> state = tx.init(jnp.zeros(3))
    >>> float(fnopt.hyperparameters(tx, state)["learning_rate"])
    1.0
    """
    return as_transform(tx).hyperparameters(state, **extra_args)
