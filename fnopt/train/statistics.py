"""Batch statistics computed again, for parameters that were never trained with."""

from __future__ import annotations

import contextlib
import copy
import functools
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen, nnx

from fnopt.core.types import Batch, ModelState, Params
from fnopt.data.arrays import check_batch_size, size, take
from fnopt.train.nnx import NNXObjective
from fnopt.train.objective import Objective
from fnopt.train.precision import Precision, forward
from fnopt.train.programs import per_objective


def recomputed(
    objective: Objective,
    params: Params,
    model_state: ModelState,
    data: Any,
    batch_size: int,
    precision: Any = None,
) -> Any:
    r"""The model state with every moving average replaced by its mean over the batches of data.

    Layers need not be known by name. A forward pass in training turns a running statistic into

    .. math:: s' = m\,s + (1 - m)\,b

    with the momentum :math:`m` and the batch's own statistic :math:`b`. From :math:`s = 0` it is
    :math:`s'_0 = (1 - m)\,b`, and from another :math:`s = S` it is :math:`m S` more, which gives
    the momentum. A third pass from :math:`S/2` checks this. Anything that is no moving average (a
    counter, an average that is frozen) stays as it is.

    Dropout layers are inactive; other random draws of the forward pass use one fixed key.

    Args:
        objective: the objective to minimize.
        params: the parameters.
        model_state: a model state like the one to be returned.
        data: a tree of arrays with examples along the first axis.
        batch_size: examples at a time; the remainder is a smaller batch, with less weight.
        precision: precision of the forward pass; None leaves dtypes alone.
    """
    examples = size(data)
    batch_size = check_batch_size(min(batch_size, examples), examples)
    leaves, treedef = jax.tree.flatten(model_state)
    floating = [i for i, x in enumerate(leaves) if jnp.issubdtype(x.dtype, jnp.floating)]
    if not floating:
        return model_state
    data = jax.tree.map(jnp.asarray, data)
    task = objective, Precision.named(precision)
    moved = functools.partial(_moved, *task, params, model_state)
    first = take(data, jnp.arange(batch_size))
    new_shares = _new_shares(moved, first, [leaves[i] for i in floating])
    batches = examples // batch_size
    indices = jnp.arange(batches * batch_size).reshape(batches, batch_size)
    sums = _sum_of_moved(*task, params, model_state, data, indices)
    sums = [x * (batch_size / examples) for x in sums]
    remainder = jnp.arange(batches * batch_size, examples)
    if remainder.size:
        zero = [jnp.zeros((), x.dtype) for x in sums]
        of_remainder = moved(zero, take(data, remainder))
        weight = remainder.size / examples
        sums = [x + y * weight for x, y in zip(sums, of_remainder, strict=True)]
    for i, share, total in zip(floating, new_shares, sums, strict=True):
        if share is not None:
            leaves[i] = (total / share).astype(leaves[i].dtype)
    return treedef.unflatten(leaves)


@per_objective(static_argnums=(1,))
def _moved(
    objective: Objective,
    precision: Precision | None,
    params: Params,
    model_state: ModelState,
    starts: list[jax.Array],
    batch: Batch,
) -> list[jax.Array]:
    """Floating leaves of the model state after a forward pass, each filled with a number before."""
    leaves, treedef = jax.tree.flatten(model_state)
    floating = [i for i, x in enumerate(leaves) if jnp.issubdtype(x.dtype, jnp.floating)]
    for i, start in zip(floating, starts, strict=True):
        leaves[i] = jnp.full_like(leaves[i], start.astype(leaves[i].dtype))
    with _no_dropout(objective) as quiet:
        _, after = forward(
            quiet, precision, params, treedef.unflatten(leaves), batch,
            key=jax.random.key(0), train=True,
        )  # fmt: skip
    after = jax.tree.leaves(after)
    return [after[i].astype(start.dtype) for i, start in zip(floating, starts, strict=True)]


@per_objective(static_argnums=(1,))
def _sum_of_moved(
    objective: Objective,
    precision: Precision | None,
    params: Params,
    model_state: ModelState,
    data: Any,
    indices: jax.Array,
) -> list[jax.Array]:
    floating = [x for x in jax.tree.leaves(model_state) if jnp.issubdtype(x.dtype, jnp.floating)]
    wide = [jnp.promote_types(x.dtype, jnp.float32) for x in floating]
    zero = [jnp.zeros((), dtype) for dtype in wide]

    def add(total: list[jax.Array], at: jax.Array) -> tuple[list[jax.Array], None]:
        moved = _moved(objective, precision, params, model_state, zero, take(data, at))
        return jax.tree.map(jnp.add, total, moved), None

    empty = [jnp.zeros(x.shape, dtype) for x, dtype in zip(floating, wide, strict=True)]
    return jax.lax.scan(add, empty, indices)[0]


def _new_shares(moved: Any, batch: Batch, leaves: list[jax.Array]) -> list[float | None]:
    """:math:`1 - m` of each leaf, or None if it is no moving average."""

    def after(starts: list[float]) -> list[np.ndarray]:
        wide = [jnp.promote_types(x.dtype, jnp.float32) for x in leaves]
        arrays = [jnp.asarray(x, dtype) for x, dtype in zip(starts, wide, strict=True)]
        return [np.asarray(x, np.float64) for x in moved(arrays, batch)]

    from_zero = after([0.0] * len(leaves))
    # Large enough that what a batch adds to it does not cost digits of the momentum.
    far = [
        2.0 ** np.ceil(np.log2(max(1.0, np.max(np.abs(x), initial=0.0, where=np.isfinite(x)))))
        for x in from_zero
    ]
    from_far, from_half = after(far), after([s / 2 for s in far])
    return [
        _share(zero, half, full, s, float(jnp.finfo(leaf.dtype).eps))
        for leaf, zero, half, full, s in zip(
            leaves, from_zero, from_half, from_far, far, strict=True
        )
    ]


def _share(
    zero: np.ndarray, half: np.ndarray, full: np.ndarray, far: float, eps: float
) -> float | None:
    if not zero.size or not np.all(np.isfinite([zero, half, full])):
        return None
    slopes = (full - zero) / far
    share = 1 - float(np.median(slopes))
    tolerance = 8 * eps  # the rounding of both steps below
    straight = np.all(np.abs(half - (zero + full) / 2) <= tolerance * far)
    if not straight or np.ptp(slopes) > tolerance or not tolerance < share <= 1 + tolerance:
        return None
    # Layers receive the momentum as a decimal and compute 1 - m of that: 0.01 of 0.99, where
    # 1 - m of single precision is off by a part in a million.
    decimal = round(share, 6)
    return decimal if abs(decimal - share) <= tolerance else share


@contextlib.contextmanager
def _no_dropout(objective: Objective) -> Iterator[Objective]:
    """The objective with its dropout layers of Flax inactive."""
    if isinstance(objective, NNXObjective):
        objective = copy.copy(objective)
        model: Any = nnx.merge(
            objective._graphs[True], objective._params, objective._streams,
            objective._model_state, copy=True,
        )  # fmt: skip
        for kind, attribute in ((nnx.Dropout, "rate"), (nnx.MultiHeadAttention, "dropout_rate")):
            model.set_attributes(kind, raise_if_not_found=False, **{attribute: 0.0})
        objective._graphs = {True: nnx.split(model, nnx.Param, nnx.RngState, ...)[0]}

    def without_dropout(function: Any, args: Any, kwargs: Any, context: Any) -> Any:
        if isinstance(context.module, linen.Dropout) and context.method_name == "__call__":
            return args[0] if args else kwargs["inputs"]
        return function(*args, **kwargs)

    with linen.intercept_methods(without_dropout):
        yield objective
