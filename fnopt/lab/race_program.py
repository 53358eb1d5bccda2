"""The program of a race: entrants, rates and starts of one structure, side by side."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax

from fnopt.core import Evaluation, Transform


@functools.partial(jax.jit, static_argnums=(0, 1, 2, 3))
def paths_of(
    function: Callable[[jax.Array], jax.Array],
    steps: int,
    noisy: bool,
    number: int,
    optimizers: Transform,
    starts: jax.Array,
    noise: Any,
    key: jax.Array,
) -> tuple[jax.Array, jax.Array]:
    """The paths of optimizers, and the values of the function along them.

    Random draws depend on the key, the start and the step, so they are the same for all optimizers.

    Args:
        function: the function, of an array of shape (2,).
        steps: number of steps.
        noisy: whether gradients have noise.
        number: number of optimizers.
        optimizers: optimizers of one structure, their leaves stacked; optax's have no leaves.
        starts: shape (starts, 2).
        noise: standard deviation of the noise.
        key: the key.

    Returns:
        Points, shape (optimizers, starts, steps + 1, 2), and values, shape (optimizers, starts,
        steps + 1).
    """

    def path_of(tx: Transform, number_of_start: jax.Array, start: jax.Array) -> jax.Array:
        key_of_start = jax.random.fold_in(key, number_of_start)

        def step(carry: Any, count: jax.Array) -> tuple[Any, jax.Array]:
            params: Any
            params, state = carry
            noise_key, own_key = jax.random.split(jax.random.fold_in(key_of_start, count))

            def loss(point: jax.Array) -> jax.Array:
                if not noisy:
                    return function(point)
                draw = jax.random.normal(noise_key, start.shape, start.dtype)
                return function(point) + noise * jnp.dot(draw, point - params)

            evaluation = Evaluation.of_loss(loss)
            value, grad = evaluation.value_and_grad(params)  # pyright: ignore[reportOptionalCall]
            updates, state = tx.update(
                grad, state, params, value=value, grad=grad, **evaluation.extra_args(),
                metric=value, evaluations=count, key=own_key,
            )  # fmt: skip
            params = optax.apply_updates(params, updates)
            return (params, state), tx.eval_params(state, params)

        _, points = jax.lax.scan(step, (start, tx.init(start)), jnp.arange(steps))
        return jnp.concatenate([start[None], points])

    which = jnp.arange(len(starts))
    of_starts = jax.vmap(path_of, in_axes=(None, 0, 0))
    points = jax.vmap(of_starts, in_axes=(0, None, None), axis_size=number)(
        optimizers, which, starts
    )
    return points, jax.vmap(jax.vmap(jax.vmap(function)))(points)
