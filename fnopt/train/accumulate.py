"""Micro-batches: one batch computed in several passes, for one update."""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from fnopt.core import computing_dtype
from fnopt.core.types import Batch, ModelState, PyTree
from fnopt.data.arrays import size
from fnopt.train.convolutions import slow_in_loops
from fnopt.train.keys import micro_batch_key


def split_batch(batch: Batch, parts: int) -> Batch:
    """A batch with its first axis split in (micro-batches, examples of each).

    Raises:
        ValueError: the number of examples is not a multiple of that of micro-batches.
    """
    examples = size(batch)
    if examples % parts:
        raise ValueError(
            f"accumulate={parts} needs batches of a multiple of {parts} examples, got one of"
            f" {examples}"
        )
    return jax.tree.map(lambda x: x.reshape(parts, examples // parts, *x.shape[1:]), batch)


def shares_of(weights: jax.Array | None, parts: int) -> jax.Array:
    """The share of each micro-batch in the mean over all examples: by weights, or equal."""
    if weights is None:
        return jnp.full(parts, 1 / parts, jnp.float32)
    of_parts = jnp.sum(weights.astype(jnp.float32).reshape(parts, -1), axis=1)
    return of_parts / jnp.sum(of_parts)


def weighted_mean(
    of_part: Callable[[ModelState, Batch, jax.Array], tuple[PyTree, PyTree, ModelState]],
    model_state: ModelState,
    batches: Batch,
    shares: jax.Array,
    key: jax.Array,
    dtype: Callable[[Any], Any] = computing_dtype,
) -> tuple[PyTree, PyTree, ModelState]:
    """The means over the micro-batches, and the model state after the last.

    Args:
        of_part: a function of model state, micro-batch and key that returns metrics, gradients and
            the next model state.
        model_state: the model state before the first.
        batches: the micro-batches, from :func:`split_batch`.
        shares: the share of each in the mean, from :func:`shares_of`.
        key: the key of the whole batch; :func:`micro_batch_key` derives that of each.
        dtype: a function of a gradient's dtype that returns the dtype of its sum. Only the sum is
            rounded to it, after each addition, not the terms.
    """

    def add(carry: Any, part: Any) -> tuple[Any, None]:
        total, model_state = carry
        i, share, batch = part
        *values, model_state = of_part(model_state, batch, micro_batch_key(key, i))

        def plus(total: jax.Array, x: jax.Array) -> jax.Array:
            wide = computing_dtype(total.dtype, x.dtype)
            x = share.astype(jnp.finfo(wide).dtype) * x.astype(wide)
            # A loss of no weight is the quotient of two zeros.
            x = jnp.where(share > 0, x, jnp.zeros_like(x))
            return (total.astype(wide) + x).astype(total.dtype)

        return (jax.tree.map(plus, total, tuple(values)), model_state), None

    first = jax.tree.map(lambda x: x[0], batches)
    program, (metrics, grads, _) = jax.make_jaxpr(of_part, return_shape=True)(
        model_state, first, key
    )
    zeros = (
        jax.tree.map(lambda x: jnp.zeros(x.shape, computing_dtype(x.dtype)), metrics),
        jax.tree.map(lambda x: jnp.zeros(x.shape, dtype(x.dtype)), grads),
    )
    numbers = jnp.arange(shares.shape[0])
    scan = _scan_of(program)
    (total, model_state), _ = scan(add, (zeros, model_state), (numbers, shares, batches))
    return *total, model_state


def stacked(
    of_part: Callable[[ModelState, Batch, jax.Array], tuple[PyTree, ModelState]],
    model_state: ModelState,
    batches: Batch,
    key: jax.Array,
) -> PyTree:
    """The results of all micro-batches, stacked along a new first axis.

    Args:
        of_part: a function of model state, micro-batch and key that returns a tree and the next
            model state.
        model_state: the model state before the first.
        batches: the micro-batches, from :func:`split_batch`.
        key: the key of the whole batch; :func:`micro_batch_key` derives that of each.
    """

    def add(model_state: ModelState, part: Any) -> tuple[ModelState, PyTree]:
        i, batch = part
        tree, model_state = of_part(model_state, batch, micro_batch_key(key, i))
        return model_state, tree

    parts = jnp.arange(len(jax.tree.leaves(batches)[0])), batches
    first = jax.tree.map(lambda x: x[0], batches)
    scan = _scan_of(jax.make_jaxpr(of_part)(model_state, first, key))
    return scan(add, model_state, parts)[1]


def _scan_of(program: Any) -> Callable[..., tuple[Any, Any]]:
    """``jax.lax.scan``, or the same without its loop for a program that is slow in one."""
    return _unrolled if slow_in_loops(program) else jax.lax.scan


def _unrolled(add: Callable[[Any, Any], Any], carry: Any, parts: Any) -> tuple[Any, Any]:
    """As ``jax.lax.scan``, without its loop, but also one part after the other."""
    results = []
    for i in range(len(jax.tree.leaves(parts)[0])):
        carry, result = add(carry, _after(carry, jax.tree.map(operator.itemgetter(i), parts)))
        results.append(result)
    return carry, jax.tree.map(lambda *x: jnp.stack(x), *results)


def _after(done: Any, tree: PyTree) -> Any:
    """A tree, on which nothing is computed before another is there: so that its memory is free.

    By a choice whose outcome the compiler does not know. On a CPU an ``optimization_barrier`` is
    dropped before jax 0.10 decides about memory.
    """
    floats = [x for x in jax.tree.leaves(done) if jnp.issubdtype(x.dtype, jnp.inexact) and x.size]
    ends = [jnp.ravel(x)[0].real.astype(jnp.float32) for x in floats]
    finite = jnp.isfinite(functools.reduce(jnp.add, ends))
    return jax.tree.map(lambda x: jnp.where(finite | ~finite, x, jnp.zeros_like(x)), tree)
