"""The figures of every layer, at the start and after a few steps, as one compiled program."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from fnopt.core import computing_dtype, divide, global_norm
from fnopt.initialize.layers import Layer, Layers

STEPS = 3
"""How many steps units are watched for. A last layer of zeros hands no gradient down in the first,
and a zero below it none in the second: what is equal after three, nothing will tell apart."""
STEP_SIZE = 0.01
"""How far a step goes, as a share of the norm of all parameters."""
VIEWS = 8
"""How many random sums over the examples stand for a unit when units are compared."""
SATURATED = {"tanh": (-0.99, 0.99), "sigmoid": (0.01, 0.99)}


def measure(layers: Layers, params: Any, batch: Any, *rest: Any) -> tuple[Any, Any, Any]:
    """The figures of every layer before and after the steps, with the gradient before them.

    Returns:
        The loss and the gradient at the parameters, and a list of dicts of figures, one a layer;
        each figure has the moments, 0 to STEPS, along its first axis.
    """
    return jax.jit(lambda *given: _measure(layers, *given))(params, batch, *rest)


def _measure(layers: Layers, params: Any, batch: Any, *rest: Any) -> tuple[Any, Any, Any]:
    def looked_at(params: Any) -> tuple[Any, Any, Any]:
        return look(layers, params, batch, *rest)

    def moment(carry: Any, first: Any) -> tuple[Any, Any]:
        params, before = carry
        value, grads, figures = looked_at(params)
        before = jax.tree.map(lambda old, new: jnp.where(first, new, old), before, (value, grads))
        return (_stepped(params, grads), before), figures

    shapes = jax.eval_shape(looked_at, params)[:2]
    nothing = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), shapes)
    moments = jnp.arange(STEPS + 1) == 0
    (_, (value, grads)), figures = jax.lax.scan(moment, (params, nothing), moments)
    return value, grads, figures


def look(layers: Layers, params: Any, batch: Any, *rest: Any) -> tuple[Any, Any, Any]:
    """The loss, its gradient, and each layer's figures, at some parameters."""
    places = {layer.preactivation: i for i, layer in enumerate(layers.layers)}
    wanted = {x for a in layers.layers for x in (a.reads, a.preactivation, a.activation, a.weights)}
    shapes = [layers.program.shapes[at] for at in places]
    probes = [jnp.zeros(shape.shape, shape.dtype) for shape in shapes]

    def loss(params: Any, probes: Any) -> tuple[Any, Any]:
        seen: dict[int, Any] = {}

        def note(number: int, value: Any) -> Any:
            # The gradient of a zero that is added is the gradient at what it is added to.
            value = value + probes[places[number]] if number in places else value
            if number in wanted:
                seen[number] = value
            return value

        return layers.run(params, batch, *rest, look=note)[0], seen

    differentiated = jax.value_and_grad(loss, argnums=(0, 1), has_aux=True)
    (value, seen), (grads, deltas) = differentiated(params, probes)
    told = [_figures(a, seen, d) for a, d in zip(layers.layers, deltas, strict=True)]
    return value, grads, told


def _figures(layer: Layer, seen: dict[Any, jax.Array], delta: jax.Array) -> dict[str, jax.Array]:
    made, active = seen[layer.preactivation], seen[layer.activation]
    by_unit, active, delta = (_by_unit(x, layer.units) for x in (made, active, delta))
    read, weights = seen[layer.reads], seen[layer.weights]
    alive = jnp.any(read != 0) if jnp.issubdtype(read.dtype, jnp.inexact) else jnp.array(True)
    size = jnp.max(jnp.abs(by_unit))
    views = jax.random.normal(jax.random.key(0), (len(by_unit), VIEWS), by_unit.dtype)
    scaled = divide(by_unit, size)
    told = {
        "mean": jnp.mean(by_unit),
        "std": _std(by_unit),
        "activation_mean": jnp.mean(active),
        "activation_std": _std(active),
        "gradient_mean": jnp.mean(delta),
        "gradient_std": _std(delta),
        "gradient_norm": _norm(delta),
        "dead": jnp.zeros(()),
        "saturated": jnp.zeros(()),
        "finite": jnp.all(jnp.isfinite(by_unit)) & jnp.all(jnp.isfinite(delta)),
        "fed": alive,
        "zero": jnp.all(weights == 0),
        # Whether what a unit makes depends on the example at all.
        "varies": jnp.any(jnp.max(scaled, axis=0) - jnp.min(scaled, axis=0) > 1e-5),
        "views": jnp.matmul(scaled.T, views, precision="highest") / len(by_unit) ** 0.5,
    }
    if layer.activation != layer.preactivation:
        dead = jnp.all(active == 0, axis=0) & jnp.any(by_unit != 0, axis=0)
        told["dead"] = jnp.mean(dead.astype(by_unit.dtype))
    if layer.function in SATURATED:
        low, high = SATURATED[layer.function]
        told["saturated"] = jnp.mean(((active < low) | (active > high)).astype(by_unit.dtype))
    return told


def _by_unit(x: jax.Array, units: tuple[int, ...]) -> jax.Array:
    """A row for each example and place, a column for each unit."""
    last = tuple(range(x.ndim - len(units), x.ndim))
    count = 1
    for axis in units:
        count *= x.shape[axis]
    return jnp.moveaxis(x, units, last).reshape(-1, count).astype(computing_dtype(x.dtype))


def _std(x: jax.Array) -> jax.Array:
    # Without the squares of numbers so large, or so small, that they are not finite, or 0.
    centred = x - jnp.mean(x)
    return _norm(centred) / x.size**0.5


def _norm(x: jax.Array) -> jax.Array:
    size = jnp.max(jnp.abs(x))
    return size * jnp.linalg.norm(divide(x, size))


def _stepped(params: Any, grads: Any) -> Any:
    """A step down the gradient, of a size that does not depend on the gradient's."""
    whole = global_norm(params)
    size = STEP_SIZE * jnp.where(whole > 0, whole, jnp.ones_like(whole))
    rate = divide(size, global_norm(grads))
    moves = (rate > 0) & jnp.isfinite(rate)
    return jax.tree.map(
        lambda p, g: jnp.where(moves, p - rate.astype(p.dtype) * g, p), params, grads
    )
