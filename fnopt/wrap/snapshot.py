"""Measuring the updates on their way through a chain, without changing them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax

from fnopt.core import Static, Transform
from fnopt.core.checks import leaves_like, refuse_state, same_shape
from fnopt.core.moments import cast
from fnopt.core.types import OptState, Params, Updates

Measure = Static[Callable[[Any], Any]]
"""A function of the updates, giving an array or a tree of them."""


def as_arrays(measured: Any) -> Any:
    return jax.tree.map(lambda x: cast(jnp.asarray(x), jnp.result_type(x)), measured)


def matched(measured: Any, old: Any) -> tuple[list[jax.Array], list[jax.Array], Any]:
    """The leaves of a measurement and of an earlier one, and their structure.

    Raises:
        ValueError: structures or shapes differ; names the path.
    """
    paths, structure = jax.tree_util.tree_flatten_with_path(old)
    new = leaves_like(structure, "the measurement", measured, "the first one")
    new = [jnp.asarray(x) for x in new]
    for (path, leaf), x in zip(paths, new, strict=True):
        name = f"the measurement{jax.tree_util.keystr(path)}"
        same_shape(name, x.shape, leaf.shape, "first one")
    return new, [leaf for _, leaf in paths], structure


def like_first(measured: Any, old: Any) -> Any:
    """A measurement in the dtypes of the first one: between parts updates are wider."""
    new, before, structure = matched(measured, old)
    return structure.unflatten([cast(x, y.dtype) for x, y in zip(new, before, strict=True)])


class snapshot(Transform):
    """Keeps in its state a measurement of the updates that pass, which stay as they are.

    ``optax.tree.get(state, measure_name)`` finds it; before the first update it is that of the
    parameters, whose shape it has.

    When:
        To see the output of one part of a chain.

    Args:
        measure_name: the name of the measurement.
        measure: a function of the updates that returns an array or a tree of them.

    >>> import fnopt, jax.numpy as jnp, optax
    >>> tx = fnopt.chain(fnopt.snapshot("size", optax.tree.norm), fnopt.clip_by_global_norm(1.0))
    >>> updates, state = tx.update(jnp.array([3.0, 4.0]), tx.init(jnp.zeros(2)))
    >>> float(optax.tree.get(state, "size"))
    5.0
    """

    measure_name: Static[str]
    measure: Measure

    keeps_zero = True

    def init(self, params: Params) -> optax.SnapshotState:
        return optax.SnapshotState({self.measure_name: as_arrays(self.measure(params))})

    def update(
        self, updates: Updates, state: OptState, params: Params = None, **extra_args: Any
    ) -> tuple[Updates, OptState]:
        if set(getattr(state, "measurement", ())) != {self.measure_name}:
            refuse_state(self, state)
        old = state.measurement[self.measure_name]
        return updates, state._replace(
            measurement={self.measure_name: like_first(self.measure(updates), old)}
        )
