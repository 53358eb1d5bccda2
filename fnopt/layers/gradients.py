"""The gradients at the pre-activations of layers, and values by repetition."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from fnopt.core.types import Batch, Params, PyTree, Updates
from fnopt.layers.layers import Layer, Layers
from fnopt.layers.program import Look


class Backward(NamedTuple):
    """The results of a forward and a backward pass.

    Attributes:
        loss: the first output of the function.
        grads: its gradient, a tree like the parameters.
        preactivation_grads: for each layer the derivative of the loss by the pre-activation, an
            array of the shape :meth:`Layers.shape`.
        recorded: the recorded results by the number of the value.
    """

    loss: jax.Array
    grads: Updates
    preactivation_grads: list[jax.Array]
    recorded: dict[int, PyTree]


def backward(layers: Layers, at: Look, params: Params, batch: Batch, *rest: PyTree) -> Backward:
    """The loss, its gradients by parameters and by pre-activations, and the recorded values.

    Args:
        layers: the layers of a function whose first output is the loss.
        at: functions by the number of a value, whose results are recorded, as of
            :meth:`Layers.look`.
        params, batch, *rest: the arguments of that function.
    """
    # The gradient of a zero that is added is the gradient at what it is added to.
    zeros = {
        layer.preactivation: jnp.zeros(
            layers.shape(layer, layer.preactivation),
            layers.program.shapes[layer.preactivation].dtype,
        )
        for layer in layers.layers
    }

    def loss(params: Params, zeros: dict[int, jax.Array]) -> tuple[Any, Any]:
        outputs, recorded = layers.look(at, params, batch, *rest, add=zeros)
        return outputs[0], recorded

    differentiated = jax.value_and_grad(loss, argnums=(0, 1), has_aux=True)
    (value, recorded), (grads, by_number) = differentiated(params, zeros)
    of_layers = [by_number[layer.preactivation] for layer in layers.layers]
    return Backward(value, grads, of_layers, recorded)


def by_repetition(layer: Layer, value: jax.Array) -> jax.Array:
    """A value of a layer with its repetitions along the first axis.

    Args:
        layer: the layer.
        value: an array with the iterations of the layer's loops along its first axes.

    Returns:
        An array of shape (repetitions, …): the iterations of the other loops, which share weights,
        and the value of one iteration.
    """
    stacked = [i for i, loop in enumerate(layer.loops) if loop.stacked]
    first = jnp.moveaxis(value, stacked, range(len(stacked)))
    return first.reshape(layer.repetitions, *first.shape[len(stacked) :])


def rows_by_unit(layer: Layer, value: jax.Array) -> jax.Array:
    """A pre-activation, its activation or its gradient as matrices.

    Args:
        layer: the layer.
        value: an array as in :func:`by_repetition`.

    Returns:
        An array of shape (repetitions, examples and positions, units).
    """
    own = by_repetition(layer, value)
    shared = own.ndim - value.ndim + len(layer.loops)
    units = tuple(axis + shared for axis in layer.units)
    last = tuple(range(own.ndim - len(units), own.ndim))
    count = math.prod(own.shape[axis] for axis in units)
    return jnp.moveaxis(own, units, last).reshape(layer.repetitions, -1, count)
