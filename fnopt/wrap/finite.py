"""Updates from finite gradients alone."""

from __future__ import annotations

from typing import Annotated, Any

import jax
import jax.numpy as jnp
import optax

from fnopt.core import Inner, Wrapper
from fnopt.core.checks import Interval
from fnopt.core.fields import Field
from fnopt.core.schedule import to_dtype
from fnopt.core.types import OptState, Params, PyTree, Updates
from fnopt.wrap.branch import update_or, zeros_like


class apply_if_finite(Wrapper):
    """Leaves out updates whose gradients are not finite, up to a number in a row.

    Nothing moves then, the inner state included. After more than ``max_consecutive_errors`` such
    gradients in a row the wrapper passes them on, so that a failed run is seen;
    ``total_notfinite`` in its state counts them all.

    Args:
        inner: the optimizer.
        max_consecutive_errors: the number of such gradients in a row that are tolerated, at least
            0.

    When:
        Half precision, where a gradient overflows now and then; not a cure for a rate that is too
        large.

    >>> import fnopt, jax.numpy as jnp
    >>> tx = fnopt.apply_if_finite(fnopt.sgd(1.0), 5)
    >>> update, state = tx.update(jnp.array(jnp.inf), tx.init(jnp.zeros(())))
    >>> update, int(state.total_notfinite)
    (Array(0., dtype=float32), 1)
    """

    inner: Inner
    max_consecutive_errors: Annotated[Any, Field(Interval("[0, inf)"))]

    leafwise = False  # a gradient that is not finite stops all leaves

    State = optax.ApplyIfFiniteState

    def init(self, params: Params) -> OptState:
        zero = jnp.zeros((), jnp.int32)
        return self.State(
            notfinite_count=zero,
            last_finite=jnp.ones((), bool),
            total_notfinite=jnp.zeros_like(zero),
            inner_state=self.inner.init(params),
        )

    def update(
        self, updates: Updates, state: OptState, params: Params = None, **extra_args: Any
    ) -> tuple[Updates, OptState]:
        inner_state = self.check(state)
        finite = all_finite(updates)
        in_a_row = jnp.asarray(optax.safe_increment(state.notfinite_count))
        tolerated = to_dtype(self.max_consecutive_errors, jnp.result_type(float))
        updates, inner_state = update_or(
            finite | (in_a_row.astype(jnp.result_type(float)) > tolerated),
            self.inner, updates, inner_state, params, extra_args, zeros_like,
        )  # fmt: skip
        total = state.total_notfinite
        return updates, self.State(
            notfinite_count=jnp.where(finite, jnp.zeros_like(in_a_row), in_a_row),
            last_finite=finite,
            total_notfinite=jnp.where(finite, total, optax.safe_increment(total)),
            inner_state=inner_state,
        )


def all_finite(tree: PyTree) -> jax.Array:
    """Whether every element of every leaf is finite."""
    flags = [jnp.all(jnp.isfinite(leaf)) for leaf in jax.tree.leaves(tree)]
    return jnp.all(jnp.stack(flags)) if flags else jnp.ones((), bool)
