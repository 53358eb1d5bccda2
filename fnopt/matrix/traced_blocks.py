"""The layers of a model that use the blocks of K-FAC, read off the traced program."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax.extend.core import ClosedJaxpr, jaxpr_as_fun

from fnopt.core.types import Arrays, Outputs, Params
from fnopt.layers import Layers
from fnopt.matrix.kfac_blocks import Block
from fnopt.matrix.layer_uses import Use, usable, use_of


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
            return jaxpr_as_fun(ClosedJaxpr(closed.jaxpr, data))(*jax.tree.leaves(params))

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
        leaves = [weight if k == layer.leaf else None for k in range(len(self.layers.paths))]
        first = self.layers.weights_from(layer, leaves, cast=False)
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
            use_of(self.layers, layer, product)
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
        if len(uses) > 1 and len({self._written(block, use) for use in uses}) > 1:
            self._refuse(block.path, "it is used in several ways, as with its transpose")
        return uses

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
