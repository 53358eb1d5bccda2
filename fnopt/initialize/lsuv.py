r"""Layer-sequential unit variance: orthonormal weights, scaled one layer after the other.

With :math:`B_l` what layer :math:`l` puts out (before the nonlinearity, its bias added) for a
batch, layer by layer from the first to the last,

.. math::
    W_l \leftarrow \text{orthonormal}, \qquad
    W_l \leftarrow \frac{W_l}{\sqrt{\operatorname{Var}(B_l)}}
    \quad \text{while } |\operatorname{Var}(B_l) - 1| \ge \text{tol\_var},
    \text{ at most max\_iter times.}

References:
    Mishkin & Matas, *All you need is a good init*, ICLR 2016, arXiv:1511.06422, Algorithm 1.
"""

from __future__ import annotations

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from fnopt.core import computing_dtype
from fnopt.core.checks import Interval, float_leaves
from fnopt.core.prng import typed_key
from fnopt.initialize.objective_functions import outputs_of
from fnopt.layers.layers import Layer, Layers
from fnopt.wrap.paths import Pattern, matches, show

TOLERANCES = Interval("(0, inf)")


def lsuv(
    objective: Any,
    params: Any,
    batch: Any,
    *,
    key: Any,
    where: Pattern = "*",
    tol_var: float = 0.1,
    max_iter: int = 10,
    orthonormal: bool = True,
    model_state: Any = None,
) -> Any:
    """Parameters with which every layer puts out variance 1 for a batch.

    Layers are found in what the forward pass computes, as by :func:`diagnose`: dense ones and
    convolutions whose weights are one leaf as it is. Biases, scales, embeddings (those shared with
    the output too) and layers in loops stay. A leaf that serves several layers is scaled for the
    first. The pass is that of training: by the batch's statistics, with dropout.

    Args:
        objective: an objective, as :func:`fnopt.train.objective` makes it, or a function
            ``outputs(params, batch)``.
        params: the parameters, whose weights are drawn anew and scaled.
        batch: a batch of the training data, some dozens of examples.
        key: a PRNG key, or an integer to make one, for the orthonormal weights and dropout.
        where: which weights, by their paths, as in :class:`fnopt.groups`: a glob, several, or a
            function of path and leaf.
        tol_var: how near to 1 a variance must be; positive.
        max_iter: how often a layer is scaled at most; positive.
        orthonormal: whether weights are drawn; without it those given are scaled.
        model_state: batch statistics and the like; the objective's own by default.

    Returns:
        A tree like ``params``.

    Raises:
        TypeError: the objective is neither, or a leaf of the parameters is not floating.
        ValueError: an argument is out of its range, no layer is meant, or one puts out the same
            number for all examples and units, which no scale changes, or numbers not finite.

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
    meant = _meant(layers, jax.tree.leaves(params), where)

    drawn = _orthonormal(layers, meant, key) if orthonormal else None

    def start(params: Any, drawn: Any, batch: Any, *rest: Any) -> tuple[Any, jax.Array]:
        leaves = jax.tree.leaves(params)
        if drawn is not None:
            leaves = _put(layers, meant, leaves, drawn)
        return _scaled(layers, meant, leaves, (batch, *rest), tol_var, max_iter)

    leaves, variances = jax.jit(start)(params, drawn, batch, *rest)
    for layer, variance in zip(meant, variances.tolist(), strict=True):
        if not 0 < variance < math.inf:
            raise ValueError(
                f"lsuv: the variance of what {layer.name} puts out is {variance}, which no scale of"
                " its weights makes 1; look at the batch and at the layers before it"
                + (", or let the weights be drawn: orthonormal=True" * (not orthonormal))
            )
    return jax.tree.unflatten(layers.treedef, leaves)


def _meant(layers: Layers, leaves: list[Any], where: Pattern) -> list[Layer]:
    """The layers to be scaled, each with weights of its own."""
    found: dict[int, Layer] = {}
    embeddings = {layer.leaf for layer in layers.layers if layer.kind == "embedding"}
    for layer in layers.layers:
        if layer.leaf not in embeddings and layers.is_leaf(layer.weights):
            if matches(where, layers.paths[layer.leaf], leaves[layer.leaf]):
                found.setdefault(layer.leaf, layer)
    if not found:
        names = ", ".join(layer.name for layer in layers.layers) or "none"
        unseen = f"; not seen, since in a loop or the like: {', '.join(layers.unseen)}"
        raise ValueError(
            f"lsuv: where={show(where)!r} means no layer; there are: {names}"
            + unseen * bool(layers.unseen)
        )
    return list(found.values())


def _orthonormal(layers: Layers, meant: list[Layer], key: jax.Array) -> list[jax.Array]:
    """Weights as the layers multiply with them; their transpose, where units are more."""
    drawn = []
    for one, layer in zip(jax.random.split(key, len(meant)), meant, strict=True):
        weights = layers.program.shapes[layer.weights]
        inputs = tuple(x for x in range(weights.ndim) if x not in layer.weight_units)
        shape = [weights.shape[x] for x in (*inputs, *layer.weight_units)]
        fan_in = math.prod(shape[: len(inputs)])
        wide = computing_dtype(weights.dtype)
        init = jax.nn.initializers.orthogonal()
        matrix = init(one, (fan_in, weights.size // fan_in), wide)
        back = np.argsort((*inputs, *layer.weight_units))
        drawn.append(matrix.reshape(shape).transpose(back).astype(weights.dtype))
    return drawn


def _put(layers: Layers, meant: list[Layer], leaves: list[Any], drawn: list[Any]) -> list[Any]:
    """The leaves that make the layers' weights what is drawn."""

    def weights(own: list[Any]) -> list[Any]:
        changed = list(leaves)
        for layer, leaf in zip(meant, own, strict=True):
            changed[layer.leaf] = leaf
        return [layers.weights_from(layer, changed) for layer in meant]

    # Weights are their leaf reshaped and turned, of which the transpose is the inverse.
    _, back = jax.vjp(weights, [leaves[layer.leaf] for layer in meant])
    changed = list(leaves)
    for layer, leaf in zip(meant, back(drawn)[0], strict=True):
        changed[layer.leaf] = leaf
    return changed


def _scaled(
    layers: Layers, meant: list[Layer], leaves: list[Any], rest: Any, tol_var: float, max_iter: int
) -> tuple[list[Any], jax.Array]:
    """The leaves, scaled layer by layer, and the variances they give."""
    wide = computing_dtype(*(layers.program.shapes[layer.preactivation].dtype for layer in meant))

    def variances(leaves: list[Any]) -> jax.Array:
        seen: dict[int, Any] = {}

        def note(number: int, value: Any) -> Any:
            return seen.setdefault(number, value)

        layers.run(leaves, *rest, look=note)
        return jnp.stack([jnp.var(seen[x.preactivation].astype(wide)) for x in meant])

    def goes_on(carry: Any) -> jax.Array:
        return carry[1] < len(meant)

    # One loop over layers and over the times of each, so that the forward pass is compiled once.
    def scale(carry: Any) -> Any:
        leaves, place, count, _ = carry
        found = variances(leaves)
        variance = found[place]
        hopeless = (variance == 0) | ~jnp.isfinite(variance)
        scales = (jnp.abs(variance - 1) >= tol_var) & (count < max_iter) & ~hopeless
        leaves = list(leaves)
        for i, layer in enumerate(meant):
            divisor = jnp.where(scales & (place == i), jnp.sqrt(variance), jnp.ones_like(variance))
            leaf = leaves[layer.leaf]
            leaves[layer.leaf] = (leaf.astype(wide) / divisor).astype(leaf.dtype)
        return leaves, place + jnp.where(scales, 0, 1), jnp.where(scales, count + 1, 0), found

    begin = leaves, jnp.array(0), jnp.array(0), jnp.zeros(len(meant), wide)
    leaves, _, _, found = jax.lax.while_loop(goes_on, scale, begin)
    return leaves, found
