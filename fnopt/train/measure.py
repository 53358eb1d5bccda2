"""Loss and gradient of a batch: whole or in micro-batches, in a precision, scaled or not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from fnopt.train.accumulate import shares_of, split, weighted_mean
from fnopt.train.objective import Objective
from fnopt.train.options import StepOptions
from fnopt.train.precision import forward, widened


def measures(
    objective: Objective,
    model_state: Any,
    batch: Any,
    options: StepOptions,
    key: jax.Array,
    loss_scale: Any = None,
    frozen: Any = None,
) -> tuple[Callable[[Any], jax.Array], Callable[[Any], Any]]:
    """Two functions of the parameters: the loss on a batch, and all there is to know of it.

    The second gives ``((loss, figures, model_state), gradient)``, the gradient as the optimizer
    is to get it. Both go through the batch in micro-batches if the options say so.

    Args:
        objective: what is minimized.
        model_state: before the batch.
        batch: of examples.
        options: of the step.
        key: of dropout.
        loss_scale: what the loss is multiplied by for the backward pass, or None.
        frozen: a flag for each parameter, whether its gradient is not wanted: it is 0 then.
    """

    def loss_and_rest(params: Any, model_state: Any, batch: Any, key: jax.Array) -> Any:
        outputs, model_state = forward(
            objective, options.precision, params, model_state, batch, key=key, train=True
        )
        loss = objective.loss(outputs, batch)
        figures = objective.metrics(outputs, batch)
        figures = {name: objective.mean(figure, batch) for name, figure in figures.items()}
        scaled = loss if loss_scale is None else loss * jnp.asarray(loss_scale, loss.dtype)
        return scaled, (loss, figures, model_state)

    def value_and_grad(params: Any, *args: Any) -> tuple[Any, list[Any]]:
        def of_trained(leaves: list[Any]) -> Any:
            return loss_and_rest(filled(leaves, params, frozen, lambda leaf: leaf), *args)

        return jax.value_and_grad(of_trained, has_aux=True)(trained(params, frozen))

    def finished(leaves: list[Any], params: Any) -> Any:
        grads = filled(leaves, params, frozen, jnp.zeros_like)
        if options.precision is not None:
            grads = widened(grads)
        if loss_scale is not None:
            grads = jax.tree.map(lambda g: g / jnp.asarray(loss_scale, g.real.dtype), grads)
        # Of a complex parameter jax.grad gives the conjugate of the direction of ascent.
        return jax.tree.map(lambda g: jnp.conj(g) if jnp.iscomplexobj(g) else g, grads)

    def value(params: Any) -> jax.Array:
        return loss_and_rest(params, model_state, batch, key)[1][0]

    def measured(params: Any) -> Any:
        (_, rest), grads = value_and_grad(params, model_state, batch, key)
        return rest, finished(grads, params)

    if options.accumulate == 1:
        return value, measured
    batches = split(batch, options.accumulate)
    shares = shares_of(objective.example_weights(batch), options.accumulate)

    def value_in_parts(params: Any) -> jax.Array:
        # Whoever takes the gradient of it computes every micro-batch anew: none is kept.
        @jax.checkpoint
        def of_part(model_state: Any, batch: Any, key: jax.Array) -> Any:
            loss, _, model_state = loss_and_rest(params, model_state, batch, key)[1]
            return loss, (), model_state

        return weighted_mean(of_part, model_state, batches, shares, key)[0]

    def measured_in_parts(params: Any) -> Any:
        def of_part(model_state: Any, batch: Any, key: jax.Array) -> Any:
            (_, rest), grads = value_and_grad(params, model_state, batch, key)
            loss, figures, model_state = rest
            return (loss, figures), grads, model_state

        (loss, figures), grads, after = weighted_mean(
            of_part, model_state, batches, shares, key, options.accumulator
        )
        if options.precision is None:
            grads = [g.astype(p.dtype) for g, p in zip(grads, trained(params, frozen), strict=True)]
        return (loss, figures, after), finished(grads, params)

    return value_in_parts, measured_in_parts


def trained(tree: Any, frozen: Any) -> list[Any]:
    """The leaves of a tree like the parameters without those that are frozen.

    Args:
        tree: the parameters, gradients or updates.
        frozen: a flag for each, or None where none is.
    """
    leaves = jax.tree.leaves(tree)
    flags = [False] * len(leaves) if frozen is None else jax.tree.leaves(frozen)
    return [leaf for leaf, still in zip(leaves, flags, strict=True) if not still]


def filled(leaves: list[Any], tree: Any, frozen: Any, other: Callable[[Any], Any]) -> Any:
    """A tree like another, of these leaves and, where it is frozen, of something else.

    Args:
        leaves: those that :func:`trained` gives, or what has become of them.
        tree: the other.
        frozen: a flag for each of its leaves, or None where none is frozen.
        other: makes of a leaf of the other tree what stands for it.
    """
    all_leaves, treedef = jax.tree.flatten(tree)
    flags = [False] * len(all_leaves) if frozen is None else jax.tree.leaves(frozen)
    given = iter(leaves)
    return treedef.unflatten(
        other(leaf) if still else next(given) for leaf, still in zip(all_leaves, flags, strict=True)
    )
