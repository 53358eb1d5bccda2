"""The layers that use the weights of a block."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

from fnopt.layers import Layer, Layers
from fnopt.layers.dependence import Product
from fnopt.matrix.layer_axes import ProductAxes, convolution_axes, dense_axes


class Use(NamedTuple):
    """A layer that uses the weights of a block.

    Attributes:
        layer: the layer.
        product: its product of weights and data.
        axes: the axes of both, and of the output.
        sizes: the number of matrices, of outputs and of inputs.
        rows: the number of examples, positions and iterations at which each matrix is used.
    """

    layer: Layer
    product: Product
    axes: ProductAxes
    sizes: tuple[int, int, int]
    rows: int

    @property
    def output(self) -> int:
        """The number of the product's output, before the bias is added."""
        return self.product.step.outputs[0]


def use_of(layers: Layers, layer: Layer, product: Product) -> Use:
    """A layer and its product as a use of its weights."""
    shape = layers.program.shapes[product.weights].shape
    convolves = layer.kind == "convolution"
    axes = convolution_axes(product) if convolves else dense_axes(layers, product)
    stack, outputs, inputs = (
        math.prod(shape[axis] for axis in own)
        for own in (axes.stack, axes.weight_out, axes.weight_in)
    )
    sizes = layer.repetitions * stack, outputs, inputs
    whole = math.prod(layers.shape(layer, product.step.outputs[0]))
    return Use(layer, product, axes, sizes, whole // (sizes[0] * outputs))


def usable(layers: Layers, layer: Layer, product: Product) -> bool:
    """Whether a layer is one whose factors can be computed."""
    if not layers.is_leaf(layer) or layer.kind == "embedding":
        return False
    params: dict[str, Any] = product.step.equation.params
    if layer.kind == "convolution":
        # A gradient's convolution, or one of a kernel with data as its filter.
        return params["batch_group_count"] == 1 and product.weights == product.step.inputs[1]
    return True
