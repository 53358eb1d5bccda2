"""Which layers a forward pass has, read off what it computes: any framework's, or none's."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax

from fnopt.layers.program import PRODUCTS, Program, Reference, Step, inner_of, primitives
from fnopt.wrap.paths import path_name

LOOPS = {"scan", "while", "cond"}
NORMALIZING = {"reduce_sum", "reduce_max", "reduce_and", "reduce_or", "psum", "cumsum"}
BENT = {"max", "min", "clamp", "abs", "sign", "tanh", "logistic", "erf", "erfc", "exp", "exp2"}
BENT |= {"expm1", "log", "log1p", "pow", "integer_pow", "square", "sqrt", "sin", "cos", "atan"}


class Layer(NamedTuple):
    """A product of parameters with data, and what follows it.

    Attributes:
        name: the path of its weights, with ``#2`` for their second use.
        leaf: the number of that leaf among the parameters'.
        kind: ``"dense"``, ``"convolution"`` or ``"embedding"``.
        weights, reads: the numbers of the two factors among the values.
        preactivation: the value it makes, its bias added.
        activation: what the next nonlinearity makes of that; of none, the pre-activation.
        function: that nonlinearity: ``"relu"``, ``"tanh"``, ``"sigmoid"``, ``"other"`` or ``""``.
        units: the axes of both along which the units lie; the others are examples and places.
        weight_units: the axes of the weights along which they lie.
        depth: how many layers data goes through until it has gone through this one.
        hidden: whether another layer reads what it makes.
    """

    name: str
    leaf: int
    kind: str
    weights: int
    reads: int
    preactivation: int
    activation: int
    function: str
    units: tuple[int, ...]
    weight_units: tuple[int, ...]
    depth: int
    hidden: bool


class Layers:
    """The layers of ``function(params, batch, *rest)``, in the order of their computation.

    A layer is a product (``dot_general``, ``conv_general_dilated``, or a ``gather`` of rows) of
    something made of parameters alone and something that depends on the batch. Nothing else is
    known of the model, so that one of Flax, of Equinox and a plain function are all seen. Where
    weights are made of several leaves (normalized, low-rank), the largest gives the name. Layers
    in a loop (``scan``, ``while``, ``cond``) or another function kept whole (``shard_map``), ragged
    and complex products are not seen; ``unseen`` has the paths of what they read. A product without
    entries is no layer.

    Args:
        function: what is traced.
        params: a tree of arrays.
        batch: a tree of arrays; what depends on it is data.
        *rest: further arguments, neither parameters nor data: model state, keys.
    """

    def __init__(self, function: Callable[..., Any], params: Any, batch: Any, *rest: Any) -> None:
        with_paths, self.treedef = jax.tree_util.tree_flatten_with_path(params)
        self.paths = [path_name(path) for path, _ in with_paths]
        self.sizes = [math.prod(jax.numpy.shape(leaf)) for _, leaf in with_paths]
        self.program = Program(function, params, batch, *rest)
        leaves, data = len(self.paths), len(jax.tree.leaves(batch))
        inputs = self.program.inputs
        # What each value is made of: the leaves of the parameters, and whether of data.
        self._made_of = {i: frozenset([k]) for k, i in enumerate(inputs[:leaves])}
        self._of_data = set(inputs[leaves : leaves + data])
        self._readers: dict[int, list[Step]] = {}
        self._products: dict[int, tuple[int, int]] = {}
        self.unseen: tuple[str, ...] = ()
        self._makers: dict[Any, Step] = {}
        for step in self.program.steps:
            self._tell(step)
        self.layers = self._layers()

    def run(self, params: Any, batch: Any, *rest: Any, look: Any = None) -> list[Any]:
        """The leaves of what the function returns, each value looked at on its way."""
        leaves = jax.tree.leaves((params, batch, *rest))
        return self.program.run(leaves, look) if look else self.program.run(leaves)

    def is_leaf(self, at: Reference) -> bool:
        """Whether a value is one leaf of the parameters, but for its shape and dtype."""
        made: Any = at
        while (step := self._makers.get(at)) and step.name in MOVES:
            at = step.inputs[0]
        if not isinstance(at, int) or at not in self.program.inputs[: len(self.paths)]:
            return False
        # What is repeated by a broadcast is not one leaf.
        return math.prod(self._shape(at)) == math.prod(self._shape(made))

    def weights_from(self, layer: Layer, leaves: list[Any]) -> Any:
        """The weights as a layer multiplies with them, made of a leaf that :meth:`is_leaf`."""
        steps: list[Step] = []
        at: Any = layer.weights
        while step := self._makers.get(at):
            steps.append(step)
            at = step.inputs[0]
        value = leaves[layer.leaf]
        for step in reversed(steps):
            value = step.equation.primitive.bind(value, **step.equation.params)
        return value

    def _tell(self, step: Step) -> None:
        for value in step.reads():
            self._readers.setdefault(value, []).append(step)
        product = self._product(step)
        if product:
            self._products[id(step)] = product
        data = bool(step.reads() & self._of_data)
        made_of = frozenset[int]().union(*map(self._leaves, step.inputs))
        if data and made_of and not product and self._hides(step):
            self.unseen = tuple(dict.fromkeys([*self.unseen, *(self.paths[k] for k in made_of)]))
        for value in step.outputs:
            self._makers[value] = step
            if data:
                self._of_data.add(value)
            else:
                self._made_of[value] = made_of

    def _leaves(self, at: Reference) -> frozenset[int]:
        """The leaves of the parameters that a value is made of, if it is made of no data."""
        return self._made_of.get(at, frozenset()) if isinstance(at, int) else frozenset()

    def _hides(self, step: Step) -> bool:
        """Whether layers may be in a step that is none itself."""
        made = self.program.shapes[step.outputs[0]]
        if step.name in PRODUCTS | {"gather"}:
            return made.size > 0
        inner = inner_of(step.equation)
        held = PRODUCTS & primitives(inner) if inner is not None else None
        return step.name in LOOPS or step.name.startswith("ragged_dot") or bool(held)

    def _product(self, step: Step) -> tuple[int, int] | None:
        """The weights and what they are multiplied with, if that is what a step does."""
        made = self.program.shapes[step.outputs[0]]
        if step.name not in PRODUCTS | {"gather"} or not made.size:
            return None
        if jax.numpy.issubdtype(made.dtype, jax.numpy.complexfloating):
            return None
        left, right = step.inputs[:2]
        sides = [(left, right)] if step.name == "gather" else [(right, left), (left, right)]
        for weights, reads in sides:
            if not isinstance(weights, int) or not isinstance(reads, int):
                continue
            if self._leaves(weights) and reads in self._of_data:
                return weights, reads
        return None

    def _layers(self) -> tuple[Layer, ...]:
        found: list[Layer] = []
        used: dict[int, int] = {}
        depth: dict[int, int] = {}
        sources: dict[int, set[int]] = {}
        hidden: set[int] = set()
        for step in self.program.steps:
            below = max((depth.get(value, 0) for value in step.reads()), default=0)
            feeding = set[int]().union(*(sources.get(value, set()) for value in step.reads()))
            product = self._products.get(id(step))
            if product:
                hidden |= feeding
                feeding, below = {len(found)}, below + 1
                found.append(self._layer(step, *product, below, used))
            depth |= dict.fromkeys(step.outputs, below)
            sources |= dict.fromkeys(step.outputs, feeding)
        # What follows the last ones is the loss.
        return tuple(
            x._replace(hidden=True)
            if i in hidden
            else x._replace(activation=x.preactivation, function="")
            for i, x in enumerate(found)
        )

    def _layer(
        self, step: Step, weights: int, reads: int, depth: int, used: dict[int, int]
    ) -> Layer:
        leaf = max(self._leaves(weights), key=lambda k: (self.sizes[k], -k))
        used[leaf] = used.get(leaf, 0) + 1
        name = self.paths[leaf] + (f"#{used[leaf]}" if used[leaf] > 1 else "")
        kinds = {"dot_general": "dense", "conv_general_dilated": "convolution"}
        of_weights, of_product = self._units(step, weights)
        value, units = self._with_bias(step.outputs[0], of_product)
        activation, function = self._follow(value, units)
        return Layer(
            name, leaf, kinds.get(step.name, "embedding"), weights, reads, value, activation,
            function, units, of_weights, depth, False,
        )  # fmt: skip

    def _units(self, step: Step, weights: Reference) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """The axes along which units lie, of the weights and of the product."""
        numbers = step.equation.params["dimension_numbers"]
        if step.name == "gather":
            rows = numbers.collapsed_slice_dims
            return tuple(x for x in range(self._rank(weights)) if x not in rows), tuple(
                numbers.offset_dims
            )
        if step.name == "conv_general_dilated":
            return (numbers.rhs_spec[0],), (numbers.out_spec[1],)
        contracted, batched = numbers
        side = 0 if weights is step.inputs[0] else 1
        shared = len(batched[0])
        of_weights = [x for x in range(self._rank(weights)) if x not in contracted[side]]
        # A product has the shared axes first, then those of the left factor, then the right's.
        left = self._rank(step.inputs[0]) - len(contracted[0])
        own = range(shared, left) if side == 0 else range(left, self._rank(step.outputs[0]))
        return tuple(of_weights), (*range(shared), *own)

    def _with_bias(self, value: int, units: tuple[int, ...]) -> tuple[int, tuple[int, ...]]:
        """The value to which a bias has been added, if one is; or the value itself."""
        at, axes = value, units
        while len(self._readers.get(at, [])) == 1 and at not in self.program.outputs:
            step = self._readers[at][0]
            (made, *_), others = step.outputs, [x for x in step.inputs if x != at]
            if step.name in ("add", "add_any") and others and self._leaves(others[0]):
                return made, axes
            kept = self._moved(step, at, axes) if step.name in MOVES else None
            if kept is None:
                break
            at, axes = made, kept
        return value, units

    def _follow(self, value: int, units: tuple[int, ...]) -> tuple[int, str]:
        """What the first nonlinearity makes of a value, and which one; if none, the value and "".

        Between two places through which all must go that comes of the value, stands a function:
        of one primitive or of many, as a GELU is.
        """
        axes: dict[int, tuple[int, ...] | None] = {value: units}
        waiting = {value: len(self._readers.get(value, []))}
        block: list[Step] = []
        started = False
        for step in self.program.steps:
            inside = [x for x in step.inputs if isinstance(x, int) and x in axes]
            started = started or value in step.outputs
            if not inside or not started:
                continue
            if id(step) in self._products:
                break
            for x in set(inside):
                waiting[x] -= 1
            block.append(step)
            kept = next((k for x in inside if (k := self._moved(step, x, axes[x]))), None)
            for made in step.outputs:
                axes[made] = kept
                waiting[made] = len(self._readers.get(made, [])) + (made in self.program.outputs)
            open_ends = [x for x, left in waiting.items() if left]
            if len(open_ends) == 1 and (kept := axes[open_ends[0]]) is not None:
                function = _function(block, set(axes))
                if function:
                    same = kept == units and self._shape(open_ends[0]) == self._shape(value)
                    return (open_ends[0], function) if same else (value, "")
                block = []
        return value, ""

    def _moved(
        self, step: Step, value: int, axes: tuple[int, ...] | None
    ) -> tuple[int, ...] | None:
        """Where a step puts the axes of one of its inputs; None if it cannot be said."""
        if axes is None:
            return None
        before, after = self._shape(value), self._shape(step.outputs[0])
        params = step.equation.params
        if step.name == "transpose":
            return tuple(j for j, i in enumerate(params["permutation"]) if i in axes)
        if step.name == "broadcast_in_dim":
            return tuple(params["broadcast_dimensions"][i] for i in axes)
        if step.name in ("reshape", "squeeze"):
            return _reshaped(before, after, axes)
        same = len(before) == len(after) and all(before[i] == after[i] for i in axes)
        return axes if same else None

    def _shape(self, value: int) -> tuple[int, ...]:
        return self.program.shapes[value].shape

    def _rank(self, at: Reference) -> int:
        return len(self._shape(at)) if isinstance(at, int) else jax.numpy.ndim(at.value)


MOVES = {"transpose", "broadcast_in_dim", "reshape", "squeeze", "convert_element_type", "copy"}


def _function(block: list[Step], inside: set[int]) -> str:
    """The nonlinearity that some steps are, or "" if they are none, or normalize."""
    names = [name for step in block for name in _names(step, inside)]
    if NORMALIZING & set(names):
        return ""
    bent = [name for name in names if name in BENT or name == "select_n"]
    if not bent:
        return ""
    known = {"max": "relu", "tanh": "tanh", "logistic": "sigmoid"}
    return known.get(bent[0], "other") if len(set(names) - MOVES) == 1 else "other"


def _names(step: Step, inside: set[int]) -> list[str]:
    if step.name == "select_n" and step.inputs[0] not in inside:
        return []  # dropout: which are chosen does not depend on what is
    inner = inner_of(step.equation)
    return [step.name] if inner is None else sorted(primitives(inner))


def _reshaped(
    before: tuple[int, ...], after: tuple[int, ...], axes: tuple[int, ...]
) -> tuple[int, ...] | None:
    """Where axes are after a reshape; None if one was joined with another kind."""
    made: list[int] = []
    i = j = 0
    while i < len(before) or j < len(after):
        left, right = list(range(len(before)))[i : i + 1], list(range(len(after)))[j : j + 1]
        i, j = i + len(left), j + len(right)
        while (
            more := math.prod(after[k] for k in right) - math.prod(before[k] for k in left)
        ) != 0:
            if more > 0:
                left.append(i)
                i += 1
            else:
                right.append(j)
                j += 1
        of_units = [k in axes for k in left if before[k] > 1]
        if any(of_units):
            if not all(of_units):
                return None
            made += right
    return tuple(made)
