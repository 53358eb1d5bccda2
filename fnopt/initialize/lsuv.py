r"""Layer-sequential unit variance: orthonormal weights, scaled one layer after the other.

With :math:`B_l` the outputs of layer :math:`l` for a batch (before the nonlinearity, with the
bias), layer by layer from the first to the last,

.. math::
    W_l \leftarrow \text{orthonormal}, \qquad
    W_l \leftarrow \frac{W_l}{\sqrt{\operatorname{Var}(B_l)}}
    \quad \text{while } |\operatorname{Var}(B_l) - 1| \ge \text{tol\_var},
    \text{ at most max\_iter times.}

References:
    Mishkin & Matas, *All you need is a good init*, ICLR 2016, arXiv:1511.06422, Algorithm 1.
"""

from __future__ import annotations

import functools
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from fnopt.core import computing_dtype
from fnopt.core.checks import Interval, float_leaves
from fnopt.core.prng import typed_key
from fnopt.core.select import Pattern, matches, show
from fnopt.core.types import Batch, ModelState, Params, PyTree
from fnopt.layers import UNSEEN, Layer, Layers, Repetition, by_repetition
from fnopt.layers.objective_functions import outputs_of

TOLERANCES = Interval("(0, inf)")


def lsuv(
    objective: Any,
    params: Params,
    batch: Batch,
    *,
    key: Any,
    where: Pattern = "*",
    tol_var: float = 0.1,
    max_iter: int = 10,
    orthonormal: bool = True,
    model_state: ModelState = None,
) -> Params:
    """Parameters with which the outputs of every layer have variance 1 for a batch.

    Layers are read off the forward pass, as by :func:`diagnose`: dense ones and convolutions whose
    weights are one leaf as it is, or its slices where they are stacked for a ``scan``: then each
    slice is drawn and scaled for itself. Biases, scales, and embeddings (those shared with the
    output too) do not change. A leaf that several layers share is scaled for the first. The forward
    pass is that of training: with the statistics of the batch and with dropout.

    Args:
        objective: an objective, as :func:`fnopt.train.objective` makes it, or a function
            ``outputs(params, batch)``.
        params: the parameters, a tree of floating-point arrays.
        batch: a batch of the training data, of some dozens of examples.
        key: a PRNG key, or an integer to make one, for the orthonormal weights and dropout.
        where: which weights to scale, by their paths, as in :class:`fnopt.groups`: a glob, several,
            or a function of path and leaf; all by default.
        tol_var: the largest difference of a variance from 1, positive.
        max_iter: the largest number of times that a layer is scaled, at least 1.
        orthonormal: whether weights are drawn; otherwise those of ``params`` are scaled.
        model_state: the model state, such as batch statistics; if None the objective's initial one.

    Returns:
        A tree like ``params``.

    Raises:
        TypeError: the objective is neither an objective nor a function, or a leaf of the parameters
            is not floating.
        ValueError: an argument is out of its range, ``where`` matches no layer, or the outputs of a
            layer are not finite, or all the same, which no scale changes.

    >>> import jax, jax.numpy as jnp, fnopt.initialize
    >>> batch = 3 * jax.random.normal(jax.random.key(1), (64, 8))
    >>> def outputs(params, batch):
    ...     return jax.nn.relu(batch @ params["hidden"]) @ params["last"]
    >>> params = {"hidden": jnp.zeros((8, 16)), "last": jnp.zeros((16, 4))}
    >>> params = fnopt.initialize.lsuv(outputs, params, batch, key=0)
    >>> round(float(jnp.var(batch @ params["hidden"])), 3)
    1.0
    """
    if tol_var not in TOLERANCES:
        raise ValueError(f"lsuv: tol_var must lie in {TOLERANCES}, got {tol_var!r}")
    if not isinstance(max_iter, int) or max_iter < 1:
        raise ValueError(f"lsuv: max_iter must be an integer of at least 1, got {max_iter!r}")
    float_leaves("params", params)
    key = typed_key(key)
    function, rest = outputs_of("lsuv", objective, batch, model_state, key)
    layers = Layers(function, params, batch, *rest)
    scaled = _chosen(layers, jax.tree.leaves(params), where)
    uses = [use for use in layers.repetitions if use.layer in scaled]

    drawn = _orthonormal(layers, scaled, key) if orthonormal else None

    def start(params: Params, drawn: Any, batch: Batch, *rest: PyTree) -> tuple[Any, jax.Array]:
        leaves = jax.tree.leaves(params)
        if drawn is not None:
            leaves = _insert(layers, scaled, leaves, drawn)
        return _scaled(layers, uses, leaves, (batch, *rest), tol_var, max_iter)

    leaves, variances = jax.jit(start)(params, drawn, batch, *rest)
    for use, variance in zip(uses, variances.tolist(), strict=True):
        if not 0 < variance < math.inf:
            raise ValueError(
                f"lsuv: the outputs of {layers.name(use)} have variance {variance}, which no scale"
                " of its weights makes 1; look at the batch and at the layers before it"
                + (", or let the weights be drawn: orthonormal=True" * (not orthonormal))
            )
    return jax.tree.unflatten(layers.treedef, leaves)


def _chosen(layers: Layers, leaves: list[Any], where: Pattern) -> dict[int, Layer]:
    """The layers to be scaled by their numbers, each with separate weights."""
    by_leaf: dict[int, int] = {}
    embeddings = {layer.leaf for layer in layers.layers if layer.kind == "embedding"}
    for i, layer in enumerate(layers.layers):
        if layer.leaf not in embeddings and layers.is_leaf(layer):
            if matches(where, layers.paths[layer.leaf], leaves[layer.leaf]):
                by_leaf.setdefault(layer.leaf, i)
    if not by_leaf:
        names = ", ".join(layer.name for layer in layers.layers) or "none"
        unseen = f"; not seen, since in {UNSEEN}: {', '.join(layers.unseen)}"
        raise ValueError(
            f"lsuv: where={show(where)!r} matches no layer; there are: {names}"
            + unseen * bool(layers.unseen)
        )
    return {i: layers.layers[i] for i in by_leaf.values()}


def _orthonormal(layers: Layers, scaled: dict[int, Layer], key: jax.Array) -> list[jax.Array]:
    """Orthonormal weights in the layout in which each layer multiplies with them."""
    drawn = []
    for layer_key, layer in zip(jax.random.split(key, len(scaled)), scaled.values(), strict=True):
        draw = functools.partial(_orthonormal_weights, layer, layers.program.shapes[layer.weights])
        if layer.stack:
            weights = jax.vmap(draw)(jax.random.split(layer_key, layer.repetitions))
            drawn.append(weights.reshape(*layer.stack, *weights.shape[1:]))
        else:
            drawn.append(draw(layer_key))
    return drawn


def _orthonormal_weights(layer: Layer, weights: Any, key: jax.Array) -> jax.Array:
    """Orthonormal columns, or rows where there are more units than inputs.

    Args:
        layer: the layer.
        weights: shape and dtype of its weights.
        key: a PRNG key.
    """
    inputs = tuple(x for x in range(weights.ndim) if x not in layer.weight_units)
    shape = [weights.shape[x] for x in (*inputs, *layer.weight_units)]
    fan_in = math.prod(shape[: len(inputs)])
    init = jax.nn.initializers.orthogonal()
    matrix = init(key, (fan_in, weights.size // fan_in), computing_dtype(weights.dtype))
    back = np.argsort((*inputs, *layer.weight_units))
    return matrix.reshape(shape).transpose(back).astype(weights.dtype)


def _insert(
    layers: Layers, scaled: dict[int, Layer], leaves: list[Any], drawn: list[Any]
) -> list[Any]:
    """The leaves with which the layers have the weights that were drawn."""

    def weights(own: list[Any]) -> list[Any]:
        changed = list(leaves)
        for layer, leaf in zip(scaled.values(), own, strict=True):
            changed[layer.leaf] = leaf
        return [layers.weights_from(layer, changed) for layer in scaled.values()]

    # Weights are their leaf reshaped and transposed: the inverse of that is its own transpose.
    _, back = jax.vjp(weights, [leaves[layer.leaf] for layer in scaled.values()])
    changed = list(leaves)
    for layer, leaf in zip(scaled.values(), back(drawn)[0], strict=True):
        changed[layer.leaf] = leaf
    return changed


def _scaled(
    layers: Layers,
    uses: list[Repetition],
    leaves: list[Any],
    rest: Any,
    tol_var: float,
    max_iter: int,
) -> tuple[list[Any], jax.Array]:
    """The leaves, scaled one use after the other, and the variances of all uses."""
    scaled = {use.layer: layers.layers[use.layer] for use in uses}
    shapes = layers.program.shapes
    wide = computing_dtype(*(shapes[layer.preactivation].dtype for layer in scaled.values()))
    # The positions of a layer's repetitions among the uses, in the order of its weights.
    positions = {i: [0] * layer.repetitions for i, layer in scaled.items()}
    for position, use in enumerate(uses):
        positions[use.layer][layers.row(use)] = position

    def variances(leaves: list[Any]) -> jax.Array:
        at = {layer.preactivation: lambda x: x.astype(wide) for layer in scaled.values()}
        recorded = layers.look(at, leaves, *rest)[1]
        of_layers = {
            i: _variances(layer, recorded[layer.preactivation]) for i, layer in scaled.items()
        }
        return jnp.stack([of_layers[use.layer][layers.row(use)] for use in uses])

    def continues(carry: Any) -> jax.Array:
        return carry[1] < len(uses)

    # One loop over uses and over the times of each, so that the forward pass is compiled once.
    def scale(carry: Any) -> Any:
        leaves, position, count, _ = carry
        before = variances(leaves)
        variance = before[position]
        hopeless = (variance == 0) | ~jnp.isfinite(variance)
        scales = (jnp.abs(variance - 1) >= tol_var) & (count < max_iter) & ~hopeless
        leaves = list(leaves)
        for i, layer in scaled.items():
            chosen = scales & (position == _along_stack(layer, leaves[layer.leaf], positions[i]))
            divisor = jnp.where(chosen, jnp.sqrt(variance), jnp.ones_like(variance))
            leaf = leaves[layer.leaf]
            leaves[layer.leaf] = (leaf.astype(wide) / divisor).astype(leaf.dtype)
        return leaves, position + jnp.where(scales, 0, 1), jnp.where(scales, count + 1, 0), before

    begin = leaves, jnp.array(0), jnp.array(0), jnp.zeros(len(uses), wide)
    leaves, _, _, after = jax.lax.while_loop(continues, scale, begin)
    return leaves, after


def _variances(layer: Layer, preactivation: jax.Array) -> list[jax.Array]:
    """The variance for each repetition of a layer."""
    own = by_repetition(layer, preactivation)
    return list(jnp.var(own, axis=tuple(range(1, own.ndim))))


def _along_stack(layer: Layer, leaf: jax.Array, numbers: list[int]) -> jax.Array:
    """Numbers of a layer's repetitions, shaped to broadcast against its leaf."""
    axes = layer.stack_axes
    if not axes:
        return jnp.array(numbers[0])
    array = jnp.array(numbers).reshape(layer.stack).transpose(np.argsort(axes))
    return array.reshape([n if axis in axes else 1 for axis, n in enumerate(leaf.shape)])
