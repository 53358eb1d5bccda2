"""The layers of a forward pass, read off its computation, in any framework or without one."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from fnopt.core.select import path_name
from fnopt.core.types import Batch, Params, PyTree
from fnopt.layers.axes import Axes
from fnopt.layers.dependence import Dependence, Product
from fnopt.layers.following import Following
from fnopt.layers.program import Look, trace
from fnopt.layers.repetitions import Repetition, repetitions
from fnopt.layers.sources import Sources
from fnopt.layers.units import batch_of, units_of

UNSEEN = "while_loop, cond or shard_map, or a ragged or complex product"
"""The functions in which layers are not seen."""


class Loop(NamedTuple):
    """A ``scan`` that a layer is in.

    Attributes:
        length: the number of iterations.
        stacked: whether each iteration has separate weights; otherwise they share them.
        axis: the axis of the leaf along which the weights of the iterations lie; None if they are
            shared, or not slices of the leaf as it is.
    """

    length: int
    stacked: bool
    axis: int | None


class Layer(NamedTuple):
    """A product of parameters with data, and the nonlinearity that follows it.

    In a loop the numbers refer to the values of one iteration.

    Attributes:
        name: the path of its weights, with ``#2`` for their second use.
        leaf: the number of that leaf among the parameters'.
        kind: ``"dense"``, ``"convolution"`` or ``"embedding"``.
        weights, reads: the numbers of the two factors among the values.
        preactivation: the number of its output, with the bias added.
        activation: the number of the output of the next nonlinearity; the pre-activation if there
            is none.
        function: that nonlinearity: ``"relu"``, ``"tanh"``, ``"sigmoid"``, ``"other"`` or ``""``.
        units: the axes of both along which the units lie; along the others lie examples and
            positions.
        weight_units: the axes of the weights along which the units lie.
        loops: the loops that it is in, the outermost first.
        depth: the number of layers from the inputs to this one (its first repetition), itself
            counted.
        hidden: whether another layer, or a later repetition, reads its output.
        bias: the number of the bias that is added to the product; None if none is.
        weight_batch: the axes of the weights, among those of units, along which each slice is
            multiplied with a slice of the data, as the experts of a mixture are.
        leaves: the numbers of all leaves that the weights depend on.
    """

    name: str
    leaf: int
    kind: str
    weights: int
    reads: int
    preactivation: int
    activation: int
    function: str
    units: Axes
    weight_units: Axes
    loops: tuple[Loop, ...]
    depth: int = 0
    hidden: bool = False
    bias: int | None = None
    weight_batch: Axes = ()
    leaves: tuple[int, ...] = ()

    @property
    def stack(self) -> tuple[int, ...]:
        """The numbers of iterations of the loops that give it separate weights."""
        return tuple(loop.length for loop in self.loops if loop.stacked)

    @property
    def stack_axes(self) -> tuple[int, ...] | None:
        """The axes of the leaf along which these lie; None if they are no axes of the leaf."""
        axes = [loop.axis for loop in self.loops if loop.stacked]
        return tuple(axis for axis in axes if axis is not None) if None not in axes else None

    @property
    def repetitions(self) -> int:
        """The number of layers with separate weights that it stands for; 1 if not stacked."""
        return math.prod(self.stack)


class Layers:
    """The layers of ``function(params, batch, *rest)``, in the order of their computation.

    A layer is a product (``dot_general``, ``conv_general_dilated``, or a ``gather`` of rows) of
    something that depends on parameters alone and something that depends on the batch. Nothing else
    is known of the model, so that models of Flax and Equinox and plain functions are all seen.
    Where weights depend on several leaves (normalized, low-rank), the largest gives the name.

    Layers in a ``scan`` are seen: over stacked parameters such a layer stands for as many as there
    are iterations, each with a slice of the leaf; over positions of a sequence it is one layer,
    used at each of them. Layers in ``while_loop``, ``cond`` or another function that is not written
    out (``shard_map``), ragged and complex products are not seen; ``unseen`` has the paths of the
    parameters that they read. A product without entries is no layer.

    Args:
        function: the function to trace.
        params: a tree of arrays.
        batch: a tree of arrays; what depends on it is data.
        *rest: further arguments, neither parameters nor data: model state, keys.

    Attributes:
        layers: the layers.
        products: the product of each layer.
        repetitions: the layers again, a stacked one once for each of its iterations, in the order
            of their computation.
        paths: the paths of the leaves of the parameters.
        program: the program that was traced.
        unseen: paths of parameters that are used in functions whose layers are not seen.
    """

    def __init__(
        self, function: Callable[..., PyTree], params: Params, batch: Batch, *rest: PyTree
    ) -> None:
        with_paths, self.treedef = jax.tree_util.tree_flatten_with_path(params)
        self.paths = [path_name(path) for path, _ in with_paths]
        self._sizes = [math.prod(np.shape(leaf)) for _, leaf in with_paths]
        self.program = trace(function, params, batch, *rest)
        dependence = Dependence(self.program, len(self.paths), len(jax.tree.leaves(batch)))
        self.unseen = tuple(self.paths[k] for k in dependence.unseen)
        self._sources = Sources(self.program)
        self._following: dict[int, Following] = {}
        used: dict[int, int] = {}
        self.products = tuple(dependence.products)
        layers = [self._layer(product, dependence, used) for product in self.products]
        stacked = [
            tuple(
                loop.outputs[0]
                for loop, described in zip(product.loops, layer.loops, strict=True)
                if described.stacked
            )
            for product, layer in zip(dependence.products, layers, strict=True)
        ]
        numbers = {id(product.step): i for i, product in enumerate(dependence.products)}
        self.repetitions = repetitions(self.program, numbers, stacked)
        self.layers = tuple(
            _placed(layer, [x for x in self.repetitions if x.layer == i])
            for i, layer in enumerate(layers)
        )

    def run(self, params: Params, batch: Batch, *rest: PyTree) -> list[Any]:
        """The leaves of the function's result."""
        return self.look({}, params, batch, *rest)[0]

    def look(
        self,
        at: Look,
        params: Params,
        batch: Batch,
        *rest: PyTree,
        add: Mapping[int, Any] | None = None,
    ) -> tuple[list[Any], dict[int, PyTree]]:
        """The leaves of the function's result, and the recorded values.

        Args:
            at: functions by the number of a value (:attr:`Layer.reads`,
                :attr:`Layer.preactivation`, …), whose results for these values are recorded.
            params, batch, *rest: the arguments of the function.
            add: arrays by number that are added to values; nothing if None.

        Returns:
            The leaves, and the results of the functions by number; of a layer in loops with their
            iterations along the first axes (:attr:`Layer.loops`).
        """
        return self.program.run(jax.tree.leaves((params, batch, *rest)), at, add)

    def name(self, repetition: Repetition) -> str:
        """The name of a layer, with the iteration of a stacked one: ``blocks/kernel[3]``."""
        name = self.layers[repetition.layer].name
        return name + (f"[{', '.join(map(str, repetition.index))}]" if repetition.index else "")

    def row(self, repetition: Repetition) -> int:
        """The position of a repetition among those of its layer, in the order of the weights."""
        stack = self.layers[repetition.layer].stack
        return int(np.ravel_multi_index(repetition.index, stack)) if stack else 0

    def shape(self, layer: Layer, value: int) -> tuple[int, ...]:
        """The shape of a value of a layer, with the iterations of its loops in front."""
        return (*(loop.length for loop in layer.loops), *self.program.shapes[value].shape)

    def is_leaf(self, layer: Layer) -> bool:
        """Whether the weights are one leaf of the parameters, up to shape and dtype.

        Those of a stacked layer are then its slices along :attr:`Layer.stack_axes`.
        """
        source = self._sources.of(layer.weights)
        if source.at != self.program.inputs[layer.leaf] or layer.stack_axes is None:
            return False
        # A leaf repeated by a broadcast does not count.
        size = math.prod(self.program.shapes[layer.weights].shape) * layer.repetitions
        return size == self._sizes[layer.leaf]

    def leaf_axes(self, layer: Layer, axes: Axes) -> Axes | None:
        """The axes of the leaf that are axes of the weights, where they are a leaf.

        Args:
            layer: the layer.
            axes: axes of its weights, without those of loops.

        Returns:
            The axes; None if the weights are no leaf, or one axis of it is these only in part.
        """
        if not self.is_leaf(layer):
            return None
        return self._sources.of(layer.weights).axes_before(self.program.shapes, axes)

    def weights_from(self, layer: Layer, leaves: Sequence[Any], cast: bool = True) -> Any:
        """The weights in the layout of the product, where they are a leaf (:meth:`is_leaf`).

        Args:
            layer: the layer.
            leaves: the leaves of the parameters, or trees like them.
            cast: whether they are in the dtype of the product; otherwise in that of the leaf.

        Returns:
            An array; of a stacked layer with the iterations along the first axes.
        """
        source = self._sources.of(layer.weights)
        source = source if cast else source.without("convert_element_type")
        return source.replay(leaves[layer.leaf])

    def bias_leaf(self, layer: Layer) -> int | None:
        """The number of the leaf that is the bias, an element for each unit; None if none is."""
        if layer.bias is None:
            return None
        source = self._sources.of(layer.bias)
        inputs = self.program.inputs[: len(self.paths)]
        if not isinstance(source.at, int) or source.at not in inputs:
            return None
        leaf = inputs.index(source.at)
        after = source.moves[len(source.until("broadcast_in_dim").moves) :]
        shape = self.program.shapes[layer.preactivation].shape
        size = layer.repetitions * math.prod(shape[axis] for axis in layer.units)
        whole = size == self._sizes[leaf] and not any(isinstance(move, int) for move in after)
        return leaf if whole else None

    def bias_from(self, layer: Layer, leaf: Any) -> Any:
        """The bias as an array of shape (repetitions, units), from its leaf (:meth:`bias_leaf`)."""
        assert layer.bias is not None
        source = self._sources.of(layer.bias).until("broadcast_in_dim")
        return source.without("convert_element_type").replay(leaf).reshape(layer.repetitions, -1)

    def _layer(self, product: Product, dependence: Dependence, used: dict[int, int]) -> Layer:
        step, weights = product.step, product.weights
        leaves = tuple(sorted(dependence.leaves_of(weights)))
        leaf = max(leaves, key=lambda k: (self._sizes[k], -k))
        used[leaf] = used.get(leaf, 0) + 1
        name = self.paths[leaf] + (f"#{used[leaf]}" if used[leaf] > 1 else "")
        kinds = {"dot_general": "dense", "conv_general_dilated": "convolution"}
        weight_units, units = units_of(step, weights, self.program.shapes)
        begin = product.program.numbers.start
        if begin not in self._following:
            self._following[begin] = Following(dependence, product.program)
        following = self._following[begin]
        value, units, bias = following.with_bias(step.outputs[0], units)
        activation, function = following.activation(value, units)
        source = self._sources.of(weights)
        is_leaf = source.at == self.program.inputs[leaf]
        axes = source.sliced_axes(self.program.shapes) if is_leaf else {}
        varies = dependence.origins[weights].loops
        loops = tuple(
            Loop(loop.length, loop.outputs[0] in varies, axes.get(loop.outputs[0]))
            for loop in product.loops
        )
        return Layer(
            name, leaf, kinds.get(step.name, "embedding"), weights, product.reads, value,
            activation, function, units, weight_units, loops, bias=bias,
            weight_batch=batch_of(step, weights), leaves=leaves,
        )  # fmt: skip


def _placed(layer: Layer, uses: list[Repetition]) -> Layer:
    """A layer with its depth; one that no other reads is followed by the loss."""
    layer = layer._replace(depth=min(use.depth for use in uses))
    if any(use.hidden for use in uses):
        return layer._replace(hidden=True)
    return layer._replace(activation=layer.preactivation, function="")
