"""Trains one layer, and computes its outputs for the next."""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax.core import Tracer

from fnopt.pretrained.layerwise_arguments import Activation


@functools.partial(jax.jit, static_argnames=("epochs", "batch_size"))
def train_layer(
    model: Any, optimizer: Any, kernel: Any, bias: Any, inputs: Any, key: Any, *,
    epochs: int, batch_size: int,
) -> tuple[dict[str, jax.Array], jax.Array]:  # fmt: skip
    """The weights of a layer after some epochs, and the mean error of each epoch."""
    steps = len(inputs) // batch_size

    def step(carry: Any, rows_and_key: Any) -> Any:
        weights, state = carry
        rows, key = rows_and_key
        of_model, of_optimizer = jax.random.split(key)
        error, grads = model.gradient(weights, inputs[rows], of_model)
        updates, state = optimizer.update(
            grads, state, weights, value=error, grad=grads, key=of_optimizer
        )
        return (optax.apply_updates(weights, updates), state), error

    def epoch(carry: Any, key: jax.Array) -> Any:
        shuffling, steps_keys = jax.random.split(key)
        rows = jax.random.permutation(shuffling, len(inputs))[: steps * batch_size]
        batches = rows.reshape(steps, batch_size), jax.random.split(steps_keys, steps)
        carry, errors = jax.lax.scan(step, carry, batches)
        return carry, jnp.mean(errors)

    weights = model.init(kernel, bias, inputs)
    start = weights, optimizer.init(weights)
    (weights, _), errors = jax.lax.scan(epoch, start, jax.random.split(key, epochs))
    return weights, errors


@functools.partial(jax.jit, static_argnums=0)
def encode(activation: Activation, kernel: Any, bias: Any, inputs: Any) -> jax.Array:
    """The outputs of a layer, which are the inputs of the next."""
    return activation(inputs @ kernel + bias[None])


def check_finite(path: str, errors: jax.Array) -> None:
    """Raises FloatingPointError, with the path and the epoch, where an error is not finite."""
    if isinstance(errors, Tracer) or jnp.all(jnp.isfinite(errors)):
        return
    epoch = int(jnp.argmin(jnp.isfinite(errors)))
    raise FloatingPointError(
        f"pretrain_layerwise: the reconstruction error of {path} was {float(errors[epoch])} in"
        f" epoch {epoch + 1}; a lower learning rate is the usual cure"
    )
