"""The metrics of every layer, at the start and after a few steps, as one compiled program."""

from __future__ import annotations

import functools
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from fnopt.core import computing_dtype, divide, global_norm
from fnopt.core.types import Batch, Params, PyTree, Updates
from fnopt.layers import Backward, Layer, Layers, backward, by_repetition, rows_by_unit

STEPS = 3
"""For how many steps units are watched. A last layer of zeros hands no gradient down in the first,
and a zero below it none in the second: units that are equal after three stay so."""
STEP_SIZE = 0.01
"""The length of a step, as a share of the norm of all parameters."""
VIEWS = 8
"""The number of random sums over the examples by which units are compared."""
SATURATED = {"tanh": (-0.99, 0.99), "sigmoid": (0.01, 0.99)}


def measure(
    layers: Layers, params: Params, batch: Batch, *rest: PyTree
) -> tuple[Any, Updates, list[dict[str, np.ndarray]]]:
    """The metrics of every layer before and after the steps, with the gradient before them.

    Args:
        layers: the layers of a loss.
        params, batch, *rest: its arguments.

    Returns:
        The loss and the gradient at the parameters; and a dict of metrics for each of
        ``layers.repetitions``, each metric with the moments, 0 to STEPS, along its first axis.
    """
    measured = jax.jit(lambda *args: _measure(layers, *args))(params, batch, *rest)
    value, grads, by_group = measured
    metrics: dict[tuple[int, int], dict[str, np.ndarray]] = {}
    for group, together in zip(_groups(layers), jax.device_get(by_group), strict=True):
        rows = [(i, k) for i in group for k in range(layers.layers[i].repetitions)]
        for row, key in enumerate(rows):
            metrics[key] = {name: x[:, row] for name, x in together.items()}
    return value, grads, [metrics[x.layer, layers.row(x)] for x in layers.repetitions]


def _measure(
    layers: Layers, params: Params, batch: Batch, *rest: PyTree
) -> tuple[Any, Updates, list[dict[str, jax.Array]]]:
    def metrics_at(params: Params) -> tuple[Any, Any, Any]:
        return _metrics(layers, params, batch, *rest)

    def moment(carry: Any, first: Any) -> tuple[Any, Any]:
        params, before = carry
        value, grads, metrics = metrics_at(params)
        before = jax.tree.map(lambda old, new: jnp.where(first, new, old), before, (value, grads))
        return (_stepped(params, grads), before), metrics

    shapes = jax.eval_shape(metrics_at, params)[:2]
    nothing = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), shapes)
    moments = jnp.arange(STEPS + 1) == 0
    (_, (value, grads)), metrics = jax.lax.scan(moment, (params, nothing), moments)
    return value, grads, metrics


def _metrics(
    layers: Layers, params: Params, batch: Batch, *rest: PyTree
) -> tuple[Any, Updates, list[dict[str, jax.Array]]]:
    """The loss, its gradient, and the layers' metrics by group, at some parameters."""
    whole = {at for x in layers.layers for at in (x.preactivation, x.activation)}
    numbers = whole | {at for x in layers.layers for at in (x.reads, x.weights)}

    def look(number: int, value: jax.Array) -> dict[str, jax.Array]:
        seen = {"some": jnp.any(value != 0), "zero": jnp.all(value == 0)}
        return seen | {"value": value} if number in whole else seen

    at = {number: functools.partial(look, number) for number in numbers}
    passed = backward(layers, at, params, batch, *rest)
    return passed.loss, passed.grads, _by_group(layers, passed)


def _groups(layers: Layers) -> list[list[int]]:
    """The numbers of the layers, those together whose pre-activations are of one shape."""
    groups: dict[Any, list[int]] = {}
    for i, layer in enumerate(layers.layers):
        shape = layers.program.shapes[layer.preactivation]
        size = math.prod(layers.shape(layer, layer.preactivation)) // layer.repetitions
        units = math.prod(shape.shape[axis] for axis in layer.units)
        groups.setdefault((size, units, shape.dtype), []).append(i)
    return list(groups.values())


def _by_group(layers: Layers, passed: Backward) -> list[dict[str, jax.Array]]:
    """The metrics of layers of one shape together, so that they are compiled but once."""

    def of_layer(i: int) -> tuple[jax.Array, jax.Array, jax.Array]:
        layer, recorded = layers.layers[i], passed.recorded
        values = [recorded[at]["value"] for at in (layer.preactivation, layer.activation)]
        three = [_rows(layer, x) for x in (*values, passed.preactivation_grads[i])]
        numbers = jnp.issubdtype(layers.program.shapes[layer.reads].dtype, jnp.inexact)
        some, zero = (
            by_repetition(layer, x).reshape(layer.repetitions, -1)
            for x in (recorded[layer.reads]["some"], recorded[layer.weights]["zero"])
        )
        return (
            jnp.stack(three, axis=1),
            jnp.any(some, axis=1) | (not numbers),
            jnp.all(zero, axis=1),
        )

    by_group = []
    for group in _groups(layers):
        three, fed, zero = (jnp.concatenate(x) for x in zip(*map(of_layer, group), strict=True))
        rows = [layers.layers[i] for i in group for _ in range(layers.layers[i].repetitions)]
        follows = [layer.activation != layer.preactivation for layer in rows]
        ends = [SATURATED.get(layer.function, (-jnp.inf, jnp.inf)) for layer in rows]
        low, high = jnp.array(ends, three.dtype).T
        metrics = jax.vmap(_of_layer)(three, jnp.array(follows), low, high)
        by_group.append(metrics | {"fed": fed, "zero": zero})
    return by_group


def _rows(layer: Layer, value: jax.Array) -> jax.Array:
    """For each repetition a row for each example and position, a column for each unit."""
    return rows_by_unit(layer, value).astype(computing_dtype(value.dtype))


def _of_layer(
    three: jax.Array, follows: jax.Array, low: jax.Array, high: jax.Array
) -> dict[str, jax.Array]:
    """The metrics of one layer.

    Args:
        three: pre-activations, activations and gradients, each with examples in rows, units in
            columns.
        follows: whether the activations are outputs of a nonlinearity.
        low, high: its ends, beyond which it is saturated.
    """
    preactivation, active = three[0], three[1]
    size = jnp.max(jnp.abs(three), axis=(1, 2))
    # Scaled, since squares of very large or small numbers are not finite, or 0.
    scaled = divide(three, size[:, None, None])
    mean = jnp.mean(scaled, axis=(1, 2))
    square = jnp.mean(jnp.square(scaled), axis=(1, 2))
    std = jnp.sqrt(jnp.mean(jnp.square(scaled - mean[:, None, None]), axis=(1, 2)))
    dead = follows & jnp.all(active == 0, axis=0) & jnp.any(preactivation != 0, axis=0)
    views = _views(len(preactivation)).astype(preactivation.dtype)
    return {
        "means": size * mean,
        "stds": size * std,
        "gradient_norm": (size * jnp.sqrt(square * preactivation.size))[2],
        "dead": jnp.mean(dead.astype(preactivation.dtype)),
        "saturated": jnp.mean(((active < low) | (active > high)).astype(preactivation.dtype)),
        "finite": jnp.isfinite(size[0]),
        # Whether the pre-activation of any unit depends on the example.
        "varies": jnp.any(jnp.ptp(scaled[0], axis=0) > 1e-5),
        "views": jnp.matmul(scaled[0].T, views, precision="highest") / len(preactivation) ** 0.5,
    }


def _views(rows: int) -> jax.Array:
    """Numbers in [-1, 1) without a pattern, by a hash, which compiles faster than a generator."""
    at = jnp.arange(rows, dtype=jnp.uint32)[:, None] * jnp.uint32(VIEWS)
    at = (at + jnp.arange(VIEWS, dtype=jnp.uint32)[None]) * jnp.uint32(0x9E3779B1)
    at = (at ^ (at >> 15)) * jnp.uint32(0x2C1B3C6D)
    at = (at ^ (at >> 12)) * jnp.uint32(0x297A2D39)
    return (at ^ (at >> 15)).astype(jnp.float32) / 2.0**31 - 1


def _stepped(params: Params, grads: Updates) -> Params:
    """The parameters after a step down the gradient, whose length does not depend on it."""
    whole = global_norm(params)
    size = STEP_SIZE * jnp.where(whole > 0, whole, jnp.ones_like(whole))
    rate = divide(size, global_norm(grads))
    moves = (rate > 0) & jnp.isfinite(rate)
    return jax.tree.map(
        lambda p, g: jnp.where(moves, p - rate.astype(p.dtype) * jnp.conj(g), p), params, grads
    )
