"""The program of a race: problems, entrants, rates and starts of one structure, side by side."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from fnopt.core import Evaluation, Transform


def as_tree(function: Callable[[jax.Array], jax.Array]) -> Any:
    """A function whose numbers are leaves, if it is a pytree of such; otherwise one without leaves.

    A registered dataclass with fields of floats or arrays is such a pytree, as is a
    ``jax.tree_util.Partial``. What has other leaves, as integers that may set a shape, has none.
    """
    leaves = jax.tree.leaves(function)
    if all(isinstance(leaf, (float, np.ndarray, jax.Array)) for leaf in leaves):
        return function
    return jax.tree_util.Partial(function)


@functools.partial(jax.jit, static_argnums=(0, 1, 2))
def paths_of(
    steps: int,
    noisy: bool,
    number: int,
    functions: Any,
    optimizers: Transform,
    starts: jax.Array,
    noise: jax.Array,
    key: jax.Array,
) -> tuple[jax.Array, jax.Array]:
    """The paths of optimizers on problems, and the values of the functions along them.

    Random draws depend on the key, the start and the step, so they are the same for all optimizers
    and problems.

    Args:
        steps: number of steps.
        noisy: whether gradients have noise.
        number: number of optimizers.
        functions: functions of an array of shape (2,), of one structure, their leaves stacked; see
            :func:`as_tree`.
        optimizers: optimizers of one structure, their leaves stacked; optax's have no leaves.
        starts: shape (problems, starts, 2).
        noise: standard deviation of the noise, shape (problems,).
        key: the key.

    Returns:
        Points, shape (problems, optimizers, starts, steps + 1, 2), and values, shape (problems,
        optimizers, starts, steps + 1).
    """

    def paths_on(function: Any, starts: jax.Array, noise: jax.Array) -> tuple[jax.Array, jax.Array]:
        return _paths_on(function, steps, noisy, number, optimizers, starts, noise, key)

    return jax.vmap(paths_on)(functions, starts, noise)


def _paths_on(
    function: Callable[[jax.Array], jax.Array],
    steps: int,
    noisy: bool,
    number: int,
    optimizers: Transform,
    starts: jax.Array,
    noise: jax.Array,
    key: jax.Array,
) -> tuple[jax.Array, jax.Array]:
    """The same on one problem, without the first axes."""

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
