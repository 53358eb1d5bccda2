"""The layers of a model that use the blocks of K-FAC, read off the traced program."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from fnopt.core.types import Arrays, Outputs, Params
from fnopt.layers import Layer, Layers
from fnopt.layers.dependence import Product
from fnopt.matrix.blocks import Block
from fnopt.matrix.layer_axes import ProductAxes, convolution_axes, dense_axes, usable


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


class TracedBlocks:
    """A forward pass as a program, and the layers in it that use the weights of blocks.

    Whatever the function uses besides the parameters is its data: batch, model state and keys.

    Args:
        method: the name of the method, for errors.
        outputs: the forward pass, a function of the parameters.
        params: the parameters.
        blocks: the blocks.

    Attributes:
        layers: the layers of the program.
        data: the arrays besides the parameters.
        structure: the structure of the outputs.
        uses: the layers of each block.

    Raises:
        ValueError: the program multiplies the weights of a block with no data, or does not use them
            as the block says.
    """

    def __init__(
        self,
        method: str,
        outputs: Callable[[Params], Outputs],
        params: Params,
        blocks: Sequence[Block],
    ) -> None:
        closed, shapes = jax.make_jaxpr(outputs, return_shape=True)(params)
        self.structure = jax.tree.structure(shapes)
        self.method, self.params, self.blocks = method, params, blocks
        self.data = list(closed.consts)

        def forward(params: Params, data: list[Any]) -> list[Any]:
            return jax.core.eval_jaxpr(closed.jaxpr, data, *jax.tree.leaves(params))

        self.layers = Layers(forward, params, self.data)
        self.uses = [self._uses(block) for block in blocks]

    def swapped(self, i: int) -> bool:
        """Whether the inputs of a block's layers are the rows of its matrices as they are seen."""
        return self.uses[i][0].sizes != self.blocks[i].view.matrix_shape

    def matrices(self, i: int, leaves: Sequence[Any]) -> jax.Array:
        """The weights of a block with their bias as a last column, (number, outputs, inputs).

        Args:
            i: the number of the block.
            leaves: the leaves of the parameters, or of a tree like them.
        """
        block = self.blocks[i]
        bias = None if block.bias is None else leaves[block.bias]
        return self._joined(self.uses[i][0], leaves[block.weight], bias)

    def leaves(self, i: int, matrices: jax.Array, like: Sequence[Any]) -> dict[int, jax.Array]:
        """The leaves, by their numbers, of which :meth:`matrices` makes these matrices.

        Args:
            i: the number of the block.
            matrices: an array of the shape of its matrices.
            like: arrays of the shapes of the leaves.
        """
        block, use = self.blocks[i], self.uses[i][0]
        numbers = [block.weight] if block.bias is None else [block.weight, block.bias]
        shapes = [jax.ShapeDtypeStruct(like[k].shape, matrices.dtype) for k in numbers]
        # Only the positions change, so that the transpose of the function is its inverse.
        back = jax.linear_transpose(lambda w, b=None: self._joined(use, w, b), *shapes)
        return dict(zip(numbers, back(matrices), strict=True))

    def _joined(self, use: Use, weight: Any, bias: Any) -> jax.Array:
        layer, axes = use.layer, use.axes
        first = self.layers.weights_from(layer, {layer.leaf: weight}, cast=False)
        own = first.reshape(layer.repetitions, *first.shape[len(layer.stack) :])
        order = (*axes.stack, *axes.weight_out, *axes.weight_in)
        matrices = jnp.transpose(own, (0, *(axis + 1 for axis in order))).reshape(use.sizes)
        if bias is None:
            return matrices
        column = self.layers.bias_from(layer, bias).reshape(*use.sizes[:2], 1)
        return jnp.concatenate([matrices, column], axis=2)

    def _uses(self, block: Block) -> list[Use]:
        pairs = zip(self.layers.layers, self.layers.products, strict=True)
        uses = [
            self._use(layer, product)
            for layer, product in pairs
            if layer.leaf == block.weight and usable(self.layers, layer, product)
        ]
        if not uses:
            self._refuse(block.path, "the outputs come from no product of it and data")
        number, rows, columns = block.view.matrix_shape
        for use in uses:
            bias = self.layers.bias_leaf(use.layer)
            if block.bias is not None and bias != block.bias:
                path = self.layers.paths[block.bias]
                self._refuse(path, f"it is not added to the product with {block.path!r}")
            either = [(number, rows, columns)]
            either += [(number, columns, rows)] * (block.bias is None)
            if use.sizes not in either:
                found = "{} of {} outputs and {} inputs".format(*use.sizes)
                seen = "{} of {} × {}".format(*block.view.matrix_shape)
                self._refuse(block.path, f"its matrices in the program are {found}, not {seen}")
        if len({self._written(block, use) for use in uses}) > 1:
            self._refuse(block.path, "it is used in several ways, as with its transpose")
        return uses

    def _use(self, layer: Layer, product: Product) -> Use:
        shapes = self.layers.program.shapes
        convolves = layer.kind == "convolution"
        axes = convolution_axes(product) if convolves else dense_axes(self.layers, product)
        shape = shapes[product.weights].shape
        stack, outputs, inputs = (
            math.prod(shape[axis] for axis in own)
            for own in (axes.stack, axes.weight_out, axes.weight_in)
        )
        sizes = layer.repetitions * stack, outputs, inputs
        whole = math.prod(self.layers.shape(layer, product.step.outputs[0]))
        return Use(layer, product, axes, sizes, whole // (sizes[0] * outputs))

    def _written(self, block: Block, use: Use) -> str:
        """The program by which the matrices of a block are made of its leaves."""
        leaves: Arrays = jax.tree.leaves(self.params)
        arguments = [leaves[block.weight], None if block.bias is None else leaves[block.bias]]
        return str(jax.make_jaxpr(lambda w, b: self._joined(use, w, b))(*arguments))

    def _refuse(self, path: str, why: str) -> None:
        raise ValueError(
            f"{self.method}: {path!r} is no part of a layer as it is seen: {why}. Say how its axes"
            f' lie, matrices=(("{path}", "in out"),), or give it to the other optimizer,'
            f' matrices=(("{path}", "other"),)'
        )
