"""The figures of every layer, at the start and after a few steps, as one compiled program."""

from __future__ import annotations

import math
from typing import Any

import jax
import jax.numpy as jnp

from fnopt.core import computing_dtype, divide, global_norm
from fnopt.layers.layers import Layers

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
    value, grads, told = jax.jit(lambda *given: _measure(layers, *given))(params, batch, *rest)
    figures: list[Any] = [None] * len(layers.layers)
    for places, together in zip(_alike(layers), jax.device_get(told), strict=True):
        for k, i in enumerate(places):
            figures[i] = {name: x[:, k] for name, x in together.items()}
    return value, grads, figures


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
    return value, grads, _by_shape(layers, seen, deltas)


def _alike(layers: Layers) -> list[list[int]]:
    """The numbers of the layers, those together that are of one shape."""
    alike: dict[Any, list[int]] = {}
    for i, layer in enumerate(layers.layers):
        made = layers.program.shapes[layer.preactivation]
        units = math.prod(made.shape[axis] for axis in layer.units)
        alike.setdefault((made.size, units, made.dtype), []).append(i)
    return list(alike.values())


def _by_shape(layers: Layers, seen: dict[Any, jax.Array], deltas: list[Any]) -> list[Any]:
    """The figures of layers of one shape together, so that they are compiled but once."""

    def given(i: int) -> Any:
        layer = layers.layers[i]
        values = seen[layer.preactivation], seen[layer.activation], deltas[i]
        three = jnp.stack([_by_unit(x, layer.units) for x in values])
        read = seen[layer.reads]
        numbers = jnp.issubdtype(read.dtype, jnp.inexact)
        return three, jnp.any(read != 0) | (not numbers), jnp.all(seen[layer.weights] == 0)

    told = []
    for places in _alike(layers):
        three, fed, zero = (jnp.stack(x) for x in zip(*map(given, places), strict=True))
        follows = [layers.layers[i].activation != layers.layers[i].preactivation for i in places]
        ends = [SATURATED.get(layers.layers[i].function, (-jnp.inf, jnp.inf)) for i in places]
        low, high = jnp.array(ends, three.dtype).T
        figures = jax.vmap(_figures)(three, jnp.array(follows), low, high)
        told.append(figures | {"fed": fed, "zero": zero})
    return told


def _figures(
    three: jax.Array, follows: jax.Array, low: jax.Array, high: jax.Array
) -> dict[str, jax.Array]:
    """Of pre-activations, activations and gradients, each with examples in rows, units in columns.

    Args:
        three: the three of them.
        follows: whether the activations are of a nonlinearity.
        low, high: its ends, beyond which it is saturated.
    """
    made, active = three[0], three[1]
    size = jnp.max(jnp.abs(three), axis=(1, 2))
    # Without the squares of numbers so large, or so small, that they are not finite, or 0.
    scaled = divide(three, size[:, None, None])
    mean = jnp.mean(scaled, axis=(1, 2))
    square = jnp.mean(jnp.square(scaled), axis=(1, 2))
    std = jnp.sqrt(jnp.mean(jnp.square(scaled - mean[:, None, None]), axis=(1, 2)))
    dead = follows & jnp.all(active == 0, axis=0) & jnp.any(made != 0, axis=0)
    views = _views(len(made)).astype(made.dtype)
    return {
        "means": size * mean,
        "stds": size * std,
        "gradient_norm": (size * jnp.sqrt(square * made.size))[2],
        "dead": jnp.mean(dead.astype(made.dtype)),
        "saturated": jnp.mean(((active < low) | (active > high)).astype(made.dtype)),
        "finite": jnp.isfinite(size[0]),
        # Whether what a unit makes depends on the example at all.
        "varies": jnp.any(jnp.ptp(scaled[0], axis=0) > 1e-5),
        "views": jnp.matmul(scaled[0].T, views, precision="highest") / len(made) ** 0.5,
    }


def _views(rows: int) -> jax.Array:
    """Numbers in [-1, 1) without a pattern, by a hash: compiled in no time, unlike a generator."""
    at = jnp.arange(rows, dtype=jnp.uint32)[:, None] * jnp.uint32(VIEWS)
    at = (at + jnp.arange(VIEWS, dtype=jnp.uint32)[None]) * jnp.uint32(0x9E3779B1)
    at = (at ^ (at >> 15)) * jnp.uint32(0x2C1B3C6D)
    at = (at ^ (at >> 12)) * jnp.uint32(0x297A2D39)
    return (at ^ (at >> 15)).astype(jnp.float32) / 2.0**31 - 1


def _by_unit(x: jax.Array, units: tuple[int, ...]) -> jax.Array:
    """A row for each example and place, a column for each unit."""
    last = tuple(range(x.ndim - len(units), x.ndim))
    count = math.prod(x.shape[axis] for axis in units)
    return jnp.moveaxis(x, units, last).reshape(-1, count).astype(computing_dtype(x.dtype))


def _stepped(params: Any, grads: Any) -> Any:
    """A step down the gradient, of a size that does not depend on the gradient's."""
    whole = global_norm(params)
    size = STEP_SIZE * jnp.where(whole > 0, whole, jnp.ones_like(whole))
    rate = divide(size, global_norm(grads))
    moves = (rate > 0) & jnp.isfinite(rate)
    return jax.tree.map(
        lambda p, g: jnp.where(moves, p - rate.astype(p.dtype) * jnp.conj(g), p), params, grads
    )
