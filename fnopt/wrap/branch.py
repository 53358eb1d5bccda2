"""What wrappers share: an update of the inner transform or none, and sums of gradients."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from fnopt.core.checks import float_leaves, leaves_like, same_shape
from fnopt.core.moments import cast, computing_dtype
from fnopt.core.transform import Transform
from fnopt.core.types import OptState, Params, PyTree, Updates


def update_or(
    condition: Any,
    inner: Transform,
    updates: Updates,
    state: OptState,
    params: Params,
    extra_args: dict[str, Any],
    otherwise: Callable[[Any], Any],
) -> tuple[Any, Any]:
    """The inner update under a condition, else ``otherwise(updates)`` and the state as it is.

    Only one of the two is computed; under ``vmap`` both are.

    Args:
        condition: a flag, an array of no axes.
        inner: the inner transform.
        updates: its updates.
        state: its state.
        params: the parameters, or None.
        extra_args: its extra arguments.
        otherwise: a function of the updates, for where the condition does not hold.

    Returns:
        The updates and the inner state.
    """

    def act() -> tuple[Any, Any]:
        new, new_state = inner.update(updates, state, params, **extra_args)
        # optax's transforms may return other dtypes than they receive.
        return like(new, updates), like(new_state, state)

    return jax.lax.cond(condition, act, lambda: (otherwise(updates), state))


def like(tree: PyTree, other: Any) -> Any:
    """A tree in the dtypes of another of its structure."""
    return jax.tree.map(lambda x, y: cast(jnp.asarray(x), jnp.result_type(y)), tree, other)


def zeros_like(tree: PyTree) -> Any:
    """Zero for every update."""
    return jax.tree.map(lambda x: jnp.zeros_like(x, dtype=jnp.result_type(x)), tree)


def gathered(updates: Updates, total: Any, params: Params, share: Any) -> Any:
    """The sum of an accumulator and updates, or their moving mean.

    Args:
        updates: the updates.
        total: the accumulator, a tree like them.
        params: the parameters, to check shapes by, or None.
        share: the weight of the updates in a mean; None for a sum.

    Returns:
        A tree like the updates, in the precision of the computation.

    Raises:
        ValueError: structures or shapes differ; names the path.
    """
    paths, grads, treedef = float_leaves("updates", updates)
    others = {"accumulator": leaves_like(treedef, "the accumulator", total, "updates")}
    if params is not None:
        others = {"parameter": leaves_like(treedef, "params", params, "updates"), **others}
    for what, leaves in others.items():
        for path, grad, leaf in zip(paths, grads, leaves, strict=True):
            same_shape(path, grad.shape, jnp.shape(leaf), what)

    def add(grad: jax.Array, old: jax.Array) -> jax.Array:
        wide = computing_dtype(grad.dtype, old.dtype)
        grad, old = cast(grad, wide), cast(old, wide)
        return old + (grad if share is None else (grad - old) * cast(share, wide))

    return treedef.unflatten(list(map(add, grads, others["accumulator"])))
