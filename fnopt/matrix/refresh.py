"""What is computed again every few updates, a share of the matrices at a time."""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp

from fnopt.core.types import Numeric, PyTree


def refreshed(
    compute: Callable[..., PyTree],
    old: PyTree,
    inputs: tuple[PyTree, ...],
    t: Numeric,
    every: int,
    *,
    staggered: bool = True,
    offset: int = 0,
) -> PyTree:
    """What ``compute`` returns for a share of the matrices, and the old values of the others.

    At the first update all are computed. After that each is once in ``every`` updates.

    Args:
        compute: takes the inputs and the old values of some matrices, as ``compute(*inputs, old)``,
            and returns their new values, a tree like ``old``.
        old: the values before, arrays with the number of matrices as their first axis.
        inputs: trees of arrays with the same first axis.
        t: the number of this update, 1 for the first.
        every: the number of updates from one computation of a matrix to its next, at least 1.
        staggered: whether as many matrices as possible are computed at each update, so that no
            update takes much longer than the others; otherwise all are at the same one.
        offset: by how many updates it is delayed, so that batches of separate shapes take turns.

    Returns:
        A tree like ``old``.
    """
    if every == 1:
        return compute(*inputs, old)
    count = jax.tree.leaves(old)[0].shape[0]
    share = -(-count // every) if staggered else count
    turn = (jnp.asarray(t).astype(jnp.int32) - 1 + offset) % every
    start = turn * share
    first = jnp.asarray(t) == 1

    def some() -> PyTree:
        # The last share may begin earlier, so that it is as large as the others.
        at = jnp.minimum(start, count - share)
        part = jax.tree.map(lambda x: jax.lax.dynamic_slice_in_dim(x, at, share), (inputs, old))
        new = compute(*part[0], part[1])
        return jax.tree.map(
            lambda x, own: jax.lax.dynamic_update_slice_in_dim(x, own, at, 0), old, new
        )

    if share == count:
        return jax.lax.cond(first | (turn == 0), some, lambda: old)
    branch = jnp.where(first, 2, (start < count).astype(jnp.int32))
    return jax.lax.switch(branch, [lambda: old, some, lambda: compute(*inputs, old)])
