"""What is computed again every few updates, a share of the matrices at a time."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from fnopt.core.in_turn import after
from fnopt.core.types import Numeric, PyTree
from fnopt.matrix.by_shape import by_shape


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

    At the first update all are computed. After that each is exactly once in ``every`` updates.
    The rest of the time nothing is computed or copied, also under ``vmap``, where that holds as
    long as all are idle at the same updates.

    Args:
        compute: takes the inputs and the old values of some matrices, as ``compute(*inputs, old)``,
            and returns their new values, a tree like ``old``. It may use other values, with which
            the result can be differentiated too.
        old: the values before, arrays with the number of matrices as their first axis.
        inputs: trees of arrays with the same first axis.
        t: the number of this update, 1 for the first.
        every: the number of updates from one computation of a matrix to its next, at least 1.
        staggered: whether as few matrices as possible are computed at an update, so that none takes
            much longer than the others; otherwise all are at the same one.
        offset: by how many updates it comes earlier, below 0 later, so that batches of separate
            shapes take turns; see :func:`~fnopt.matrix.refresh.refreshed_by_shape`.

    Returns:
        A tree like ``old``.
    """
    if every == 1:
        return compute(*inputs, old)
    options = {"staggered": staggered, "offset": offset}
    return _refreshed(compute, [old], [inputs], t, every, **options)[0]


def refreshed_by_shape(
    compute: Callable[..., PyTree],
    old: Sequence[PyTree],
    inputs: tuple[Sequence[PyTree], ...],
    t: Numeric,
    every: int,
    *,
    staggered: bool = True,
    done: PyTree = (),
) -> list[Any]:
    """:func:`refreshed` of lists; positions of one shape are a batch, and batches take turns.

    A batch is joined while it is computed alone, so that idle updates do not copy it either. Where
    several are due at one update, one is computed after another, as ``compute`` may decompose; see
    ``fnopt.core.in_turn.after``.

    Args:
        compute, t, every, staggered: as of :func:`refreshed`.
        old: trees of arrays with a number of matrices as their first axis.
        inputs: lists of such trees, as long as ``old``, with the same first axes.
        done: the results of what is computed before, if anything is.
    """
    positions = list(zip(*inputs, strict=True))
    batches: dict[Any, list[int]] = {}
    for i, own in enumerate(positions):
        leaves, structure = jax.tree.flatten((own, old[i]))
        key = structure, tuple((x.shape[1:], x.dtype) for x in leaves)
        batches.setdefault(key, []).append(i)
    results: list[Any] = list(old)
    offset = 0
    for members in batches.values():
        before, own = [old[i] for i in members], [positions[i] for i in members]
        options = {"staggered": staggered, "offset": offset, "done": done}
        new = _refreshed(compute, before, own, t, every, **options)
        done = new[-1:]
        # The batch of the next shape begins where this one ends.
        offset -= _turns(_count(before), every, staggered)[1] if staggered else 0
        for i, x in zip(members, new, strict=True):
            results[i] = x
    return results


def _refreshed(
    compute: Callable[..., PyTree],
    old: list[PyTree],
    inputs: list[tuple[PyTree, ...]],
    t: Numeric,
    every: int,
    *,
    staggered: bool,
    offset: int,
    done: PyTree = (),
) -> list[PyTree]:
    """:func:`refreshed` of one batch, of which each position of the lists has a part."""
    if every == 1:
        return _joined(lambda old, inputs: compute(*inputs, old), old, after(done, inputs))
    count = _count(old)
    share, turns = _turns(count, every, staggered)
    now = jnp.asarray(after(done, t)).astype(jnp.int32)
    turn, first = (now - 1 + offset) % every, now == 1
    begin = jnp.where(first, 0, jnp.minimum(turn, turns))
    end = jnp.where(first, turns, jnp.minimum(turn + 1, turns))

    def renew(turn: jax.Array, old: PyTree, inputs: tuple[PyTree, ...]) -> PyTree:
        start = turn * share
        # The last share may begin earlier, so that it is as large as the others.
        at = jnp.minimum(start, count - share)
        part, before = jax.tree.map(
            lambda x: jax.lax.dynamic_slice_in_dim(x, at, share), (inputs, old)
        )
        new = compute(*part, before)
        if count % share:
            due = at + jnp.arange(share, dtype=jnp.int32) >= start
            new = jax.tree.map(lambda x, y: jnp.where(_beside(due, x), x, y), new, before)
        return jax.tree.map(
            lambda x, own: jax.lax.dynamic_update_slice_in_dim(x, own, at, 0), old, new
        )

    def renew_parts(turn: jax.Array, old: list[PyTree], inputs: Any) -> list[PyTree]:
        return _joined(lambda old, inputs: renew(turn, old, inputs), old, inputs)

    # What compute uses besides its arguments becomes arguments, which can be differentiated.
    converted, used = jax.closure_convert(renew_parts, begin, old, inputs)
    return _between(converted, turns, (begin, end), old, inputs, used)


def _joined(
    function: Callable[[PyTree, Any], PyTree], old: list[PyTree], inputs: list[Any]
) -> list[PyTree]:
    """The parts of what a function makes of a batch, whose parts these are."""
    if len(old) == 1:
        return [function(old[0], inputs[0])]
    structure = jax.tree.structure((old[0], inputs[0]))
    lists = zip(*map(jax.tree.leaves, zip(old, inputs, strict=True)), strict=True)
    return by_shape(lambda *arrays: function(*structure.unflatten(arrays)), *lists)


def _count(parts: list[PyTree]) -> int:
    return sum(jax.tree.leaves(part)[0].shape[0] for part in parts)


def _turns(count: int, every: int, staggered: bool) -> tuple[int, int]:
    """How many of so many matrices are computed at an update, and how many updates it takes."""
    share = -(-count // every) if staggered else count
    return share, -(-count // share)


def _beside(flags: jax.Array, x: jax.Array) -> jax.Array:
    return flags.reshape(flags.shape + (1,) * (x.ndim - 1))


# A loop, not a branch: the program has the computation once, for a share, though the first update
# takes all; and vmap, which makes a branch compute both sides, leaves an idle loop idle. It has no
# reverse derivative, hence the other form for those.
@functools.partial(jax.custom_jvp, nondiff_argnums=(0, 1))
def _between(
    renew: Callable[..., PyTree],
    turns: int,
    span: tuple[jax.Array, jax.Array],
    old: list[PyTree],
    inputs: list[Any],
    used: list[jax.Array],
) -> list[PyTree]:
    """The values after the turns from the first of a span to before its second."""
    begin, end = span

    def one(carry: tuple[jax.Array, PyTree]) -> tuple[jax.Array, PyTree]:
        turn, values = carry
        # Without the barrier XLA joins the inputs before the loop, which does not change them.
        _, own = jax.lax.optimization_barrier((turn, inputs))
        return turn + 1, renew(turn, values, own, *used)

    return jax.lax.while_loop(lambda carry: carry[0] < end, one, (begin, old))[1]


@_between.defjvp
def _between_jvp(renew: Callable[..., PyTree], turns: int, primals: Any, tangents: Any) -> Any:
    return jax.jvp(functools.partial(_by_branches, renew, turns), primals, tangents)


def _by_branches(
    renew: Callable[..., PyTree],
    turns: int,
    span: tuple[jax.Array, jax.Array],
    old: list[PyTree],
    inputs: list[Any],
    used: list[jax.Array],
) -> list[PyTree]:
    begin, end = span

    def one(values: PyTree, turn: jax.Array) -> tuple[PyTree, None]:
        due = (begin <= turn) & (turn < end)
        new = jax.lax.cond(due, lambda: renew(turn, values, inputs, *used), lambda: values)
        return new, None

    return jax.lax.scan(one, old, jnp.arange(turns, dtype=jnp.int32))[0]
