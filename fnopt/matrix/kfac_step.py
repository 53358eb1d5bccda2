"""A step of K-FAC: its factors brought up to date, and the directions by them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax.core import Tracer

from fnopt.core import Evaluation, moment, vdot
from fnopt.core.evaluation import evaluation_call
from fnopt.core.moments import cast, computing_dtype
from fnopt.core.transform import at_count
from fnopt.core.types import Arrays, Numeric, Params, Updates
from fnopt.matrix.by_shape import by_shape
from fnopt.matrix.damped_factors import preconditioned, refreshed_inverses, split_damping
from fnopt.matrix.fisher_roots import roots_of
from fnopt.matrix.kfac_blocks import Block
from fnopt.matrix.kfac_state import Factor, KFACState, factors_of, with_factors
from fnopt.matrix.kronecker_factors import Roots, kronecker_factors
from fnopt.matrix.traced_blocks import TracedBlocks

Pairs = list[list[Factor]]
"""For each block the factor of the outputs and that of the inputs; or the left and the right."""


def stepped(
    rule: Any,
    state: KFACState,
    blocks: Sequence[Block],
    grads: Updates,
    params: Params,
    evaluation: Evaluation,
    key: Any,
) -> tuple[Updates, KFACState]:
    """The directions of an update, and the next state.

    Args:
        rule: the method.
        state: its state.
        blocks: the blocks of the parameters, at least one.
        grads: the gradients, a tree of arrays.
        params: the parameters.
        evaluation: the loss on the batch.
        key: the key of the step; None if there is none.

    Raises:
        ValueError: the evaluation has no outputs.
    """
    method = type(rule).__name__
    if evaluation.outputs is None:
        raise ValueError(
            f"{method} needs the outputs of the model: an objective's step passes them; by hand"
            " call update(…, evaluation=Evaluation.of_outputs(outputs, loss_of_outputs))"
        )
    leaves, treedef = jax.tree.flatten(grads)
    dtype = computing_dtype(*(leaves[block.weight].dtype for block in blocks))
    traced = TracedBlocks(method, evaluation.outputs, params, blocks)
    roots = roots_of(rule, evaluation, key, state.count)
    rule = at_count(rule, state.count, dtype)
    pairs = ordered(traced, factors_of(state, blocks, treedef, dtype))
    pairs = refreshed_factors(rule, traced, roots, pairs, state.count + 1)
    for own in directions(rule, traced, pairs, [cast(leaf, dtype) for leaf in leaves]):
        for i, direction in own.items():
            leaves[i] = cast(direction, leaves[i].dtype)
    new = with_factors(state, blocks, treedef, ordered(traced, pairs))
    return treedef.unflatten(leaves), new


def ordered(traced: TracedBlocks, pairs: Pairs) -> Pairs:
    """From left and right factors to those of outputs and inputs, and back."""
    return [own[::-1] if traced.swapped(i) else own for i, own in enumerate(pairs)]


def refreshed_factors(
    rule: Any, traced: TracedBlocks, roots: Roots, pairs: Pairs, t: jax.Array
) -> Pairs:
    """The factors after an update, with the means of the batch in them, and their inverses.

    Args:
        rule: the method, without schedules.
        traced: the forward pass, and its layers.
        roots: the columns of the root of the loss's curvature.
        pairs: the factors of outputs and inputs of each block.
        t: the number of this update, 1 for the first.
    """
    means = [factor.mean for own in pairs for factor in own]
    dtype = means[0].dtype

    def compute(params: Any, data: Any) -> Arrays:
        inputs, outputs = kronecker_factors(traced, params, data, roots, dtype)
        return [x for own in zip(outputs, inputs, strict=True) for x in own]

    def averaged() -> Arrays:
        # Traced, it is one call, which a step computes before its branch.
        is_traced = any(isinstance(x, Tracer) for x in jax.tree.leaves((traced.params, means)))
        function = evaluation_call(compute) if is_traced else compute
        new = function(traced.params, traced.data)
        number = cast((t - 1) // rule.factor_interval + 1, dtype)
        decay = jnp.minimum(1 - 1 / number, jnp.asarray(rule.decay, dtype))
        return [moment(x, old, decay) for x, old in zip(new, means, strict=True)]

    if rule.factor_interval == 1:
        means = averaged()
    else:
        before = means
        means = jax.lax.cond((t - 1) % rule.factor_interval == 0, averaged, lambda: before)
    dampings: Arrays = []
    for g, a in zip(means[::2], means[1::2], strict=True):
        dampings += split_damping(g, a, rule.damping)
    old = [factor.inverse for own in pairs for factor in own]
    inverses = refreshed_inverses(rule.solver, means, dampings, old, t, rule.inverse_interval)
    factors = [Factor(*both) for both in zip(means, inverses, strict=True)]
    return [factors[i : i + 2] for i in range(0, len(factors), 2)]


def directions(
    rule: Any, traced: TracedBlocks, pairs: Pairs, grads: Arrays
) -> list[dict[int, jax.Array]]:
    """The directions of the leaves of each block, by their numbers.

    Args:
        rule: the method, without schedules.
        traced: the forward pass, and its layers.
        pairs: the factors of outputs and inputs of each block.
        grads: the gradients of all leaves, in the dtype of the factors.
    """
    matrices = [traced.matrices(i, grads) for i in range(len(pairs))]
    parts = [[x for factor in own for x in factor.inverse] for own in pairs]
    found = by_shape(
        lambda gradients, *parts: preconditioned(gradients, parts, rule.damping),
        matrices,
        *map(list, zip(*parts, strict=True)),
    )
    factor = _length(rule.max_kl, vdot(matrices, found))
    return [traced.leaves(i, factor * x, grads) for i, x in enumerate(found)]


def _length(max_kl: Numeric, square: jax.Array) -> jax.Array:
    """The factor at which twice the divergence that a step causes, its square, is bounded."""
    one = jnp.ones_like(square)
    if max_kl is None:
        return one
    safe = jnp.where(square > 0, square, one)
    return jnp.minimum(jnp.where(square > 0, jnp.sqrt(2 * max_kl / safe), one), one)
