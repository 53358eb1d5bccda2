"""Roots of the curvature of a loss in the outputs of a model, for its Fisher matrix."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

import jax
import jax.numpy as jnp

from fnopt.core import Evaluation
from fnopt.core.fields import Field
from fnopt.core.in_turn import after
from fnopt.core.moments import cast, computing_dtype, root
from fnopt.core.prng import typed_key
from fnopt.core.types import Arrays, Outputs
from fnopt.curvature.likelihoods import drawn_gradient
from fnopt.matrix.kronecker_factors import Roots, floating

Fisher = Annotated[Any, Field(static=True, choices=("sampled", "exact", "empirical"))]
"""Which Fisher matrix: of drawn targets, of all, or of those in the batch."""


def roots_of(rule: Any, evaluation: Evaluation, key: Any, count: jax.Array) -> Roots:
    """The columns of a root, as a function of the outputs.

    Args:
        rule: the method: its ``fisher``, its ``likelihood``, the distribution of drawn targets, and
            its ``random_seed``.
        evaluation: the loss on the batch.
        key: the key of the draws, which the seed of the method goes before; None if there is none.
        count: the number of updates so far, by which draws of a seed differ.

    Raises:
        ValueError: the evaluation lacks a function that is needed.
    """
    if key is None or rule.random_seed is not None:
        seed = 0 if rule.random_seed is None else rule.random_seed
        key = jax.random.fold_in(typed_key(seed), count)
    key = typed_key(key)
    method, fisher = type(rule).__name__, rule.fisher
    name = "losses_of_outputs" if fisher == "empirical" else "loss_of_outputs"
    function = getattr(evaluation, name)
    if function is None:
        raise ValueError(
            f"{method}: fisher={fisher!r} needs an evaluation with {name}: an objective's step"
            " passes it; by hand call update(…, evaluation=Evaluation.of_outputs(outputs,"
            " loss_of_outputs, losses_of_outputs))"
        )
    if fisher == "exact":
        return lambda outputs: hessian_roots(function, outputs)
    if fisher == "empirical":
        return lambda outputs: [[x[None] for x in example_gradients(function, outputs)]]

    def drawn(outputs: Outputs) -> list[Arrays]:
        otherwise = "fisher='exact', which needs the loss alone"
        leaves = drawn_gradient(method, rule.likelihood, function, outputs, key, otherwise)
        return [[x[None] for x in jax.tree.leaves(leaves)]]

    return drawn


def hessian_roots(loss: Callable[[Outputs], jax.Array], outputs: Outputs) -> list[Arrays]:
    r"""Columns of :math:`R` with :math:`R\,R^\top` the positive part of a loss's Hessian.

    The loss is a sum over targets, each of which is the last axis of the outputs, or one number
    where they have a single axis. A column is of all targets together, so that there are as many as
    there are classes.
    """
    leaves, treedef = jax.tree.flatten(outputs)
    wide = [cast(x, computing_dtype(x.dtype)) for x in floating(leaves)]

    def of_leaf(k: int, x: jax.Array) -> jax.Array:
        values = iter([*wide[:k], x, *wide[k + 1 :]])
        return loss(treedef.unflatten(next(values) if floating([y]) else y for y in leaves))

    columns, own = [], []
    for k, x in enumerate(wide):
        own = _root_of_blocks(jax.grad(lambda x, k=k: of_leaf(k, x)), after(own, x))
        zeros = [jnp.zeros((len(own), *y.shape), y.dtype) for y in wide]
        columns.append([own if j == k else y for j, y in enumerate(zeros)])
    narrow = [x.dtype for x in floating(leaves)]
    return [[cast(x, d) for x, d in zip(own, narrow, strict=True)] for own in columns]


def _root_of_blocks(gradient: Callable[[jax.Array], jax.Array], x: jax.Array) -> jax.Array:
    _, product = jax.linearize(gradient, x)
    if x.ndim < 2:
        return root(jnp.maximum(_finite(product(jnp.ones_like(x))), 0))[None]
    units = jnp.eye(x.shape[-1], dtype=x.dtype)
    columns = jax.lax.map(lambda unit: product(jnp.broadcast_to(unit, x.shape)), units)
    blocks = _finite(jnp.moveaxis(columns, 0, -1))
    values, vectors = jnp.linalg.eigh((blocks + jnp.matrix_transpose(blocks)) / 2)
    roots = vectors * root(jnp.maximum(values, 0))[..., None, :]
    return jnp.moveaxis(roots, -1, 0)


def _finite(x: jax.Array) -> jax.Array:
    # The loss of what does not count, such as of a label of -1, may be NaN.
    return jnp.where(jnp.isfinite(x), x, jnp.zeros_like(x))


def example_gradients(
    losses: Callable[[Outputs], tuple[jax.Array, jax.Array]], outputs: Outputs
) -> Arrays:
    r""":math:`\sqrt{w_i}` times the gradient of each example's loss in the outputs."""
    leaves, treedef = jax.tree.flatten(outputs)

    def of_floating(floats: Arrays) -> tuple[jax.Array, jax.Array]:
        values = iter(floats)
        return losses(treedef.unflatten(next(values) if floating([y]) else y for y in leaves))

    _, pull_back, weights = jax.vjp(of_floating, floating(leaves), has_aux=True)
    return pull_back(root(weights))[0]
