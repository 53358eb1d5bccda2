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

from fnopt.core import computing_dtype
from fnopt.core.checks import Interval, float_leaves
from fnopt.initialize.given import outputs_of
from fnopt.initialize.layers import Layer, Layers
from fnopt.wrap.paths import Pattern, matches, show

TOLERANCES = Interval("(0, inf)")


def lsuv(
    objective: Any,
    params: Any,
    batch: Any,
    *,
    key: jax.Array,
    where: Pattern = "*",
    tol_var: float = 0.1,
    max_iter: int = 10,
    orthonormal: bool = True,
    model_state: Any = None,
) -> Any:
    """Parameters with which every layer puts out variance 1 for a batch.

    Layers are found in what the forward pass computes, as by :func:`diagnose`: dense ones and
    convolutions whose weights are one leaf as it is. Biases, scales, embeddings and layers in loops
    stay. A leaf that serves several layers is scaled for the first. The pass is that of training:
    by the batch's statistics, with dropout.

    Args:
        objective: an objective, as :func:`fnopt.train.objective` makes it, or a function
            ``outputs(params, batch)``.
        params: the parameters, whose weights are drawn anew and scaled.
        batch: a batch of the training data, some dozens of examples.
        key: for the orthonormal weights, and dropout.
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
    >>> params = fnopt.initialize.lsuv(outputs, params, batch, key=jax.random.key(0))
    >>> round(float(jnp.var(batch @ params["hidden"])), 3)
    1.0
    """
    if tol_var not in TOLERANCES:
        raise ValueError(f"lsuv: tol_var must lie in {TOLERANCES}, got {tol_var!r}")
    if not isinstance(max_iter, int) or max_iter < 1:
        raise ValueError(f"lsuv: max_iter must be an integer of at least 1, got {max_iter!r}")
    float_leaves("params", params)
    function, rest = outputs_of("lsuv", objective, batch, model_state, key)
    layers = Layers(function, params, batch, *rest)
    meant = _meant(layers, jax.tree.leaves(params), where)

    def start(params: Any, batch: Any, *rest: Any) -> tuple[Any, jax.Array]:
        leaves = jax.tree.leaves(params)
        if orthonormal:
            leaves = _drawn(layers, meant, leaves, key)
        return _scaled(layers, meant, leaves, (batch, *rest), tol_var, max_iter)

    leaves, variances = jax.jit(start)(params, batch, *rest)
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
    for layer in layers.layers:
        if layer.kind != "embedding" and layers.is_leaf(layer.weights):
            if matches(where, layers.paths[layer.leaf], leaves[layer.leaf]):
                found.setdefault(layer.leaf, layer)
    if not found:
        names = ", ".join(layer.name for layer in layers.layers) or "none"
        raise ValueError(f"lsuv: where={show(where)!r} means no layer; there are: {names}")
    return list(found.values())


def _drawn(layers: Layers, meant: list[Layer], leaves: list[Any], key: jax.Array) -> list[Any]:
    """The leaves, those of the layers orthonormal."""

    def weights(own: list[Any]) -> list[Any]:
        changed = list(leaves)
        for layer, leaf in zip(meant, own, strict=True):
            changed[layer.leaf] = leaf
        return [layers.weights_from(layer, changed) for layer in meant]

    factors, back = jax.vjp(weights, [leaves[layer.leaf] for layer in meant])
    keys = jax.random.split(key, len(meant))
    drawn = [
        _orthonormal(one, factor, layer.weight_units)
        for one, factor, layer in zip(keys, factors, meant, strict=True)
    ]
    # A factor is its leaf reshaped and turned, of which the transpose is the inverse.
    changed = list(leaves)
    for layer, leaf in zip(meant, back(drawn)[0], strict=True):
        changed[layer.leaf] = leaf
    return changed


def _orthonormal(key: jax.Array, factor: jax.Array, units: tuple[int, ...]) -> jax.Array:
    """A factor whose units' weights are orthonormal, or their transpose where units are more."""
    first = tuple(range(len(units)))
    shape = jnp.moveaxis(factor, units, first).shape
    count = math.prod(shape[: len(units)])
    wide = computing_dtype(factor.dtype)
    matrix = jax.nn.initializers.orthogonal()(key, (factor.size // count, count), wide)
    return jnp.moveaxis(matrix.T.reshape(shape), first, units).astype(factor.dtype)


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

    def of_layer(place: Any, leaves: list[Any]) -> list[Any]:
        def goes_on(carry: Any) -> jax.Array:
            _, variance, count = carry
            hopeless = (variance == 0) | ~jnp.isfinite(variance)
            return (jnp.abs(variance - 1) >= tol_var) & (count < max_iter) & ~hopeless

        def scale(carry: Any) -> Any:
            leaves, variance, count = carry
            leaves = list(leaves)
            for i, layer in enumerate(meant):
                leaf = leaves[layer.leaf]
                divisor = jnp.where(place == i, jnp.sqrt(variance), jnp.ones_like(variance))
                leaves[layer.leaf] = (leaf.astype(wide) / divisor).astype(leaf.dtype)
            return leaves, variances(leaves)[place], count + 1

        return jax.lax.while_loop(goes_on, scale, (leaves, variances(leaves)[place], 0))[0]

    leaves = jax.lax.fori_loop(0, len(meant), of_layer, leaves)
    return leaves, variances(leaves)
