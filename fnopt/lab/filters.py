"""Random directions whose filters are as long as those of the parameters."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from fnopt.core.prng import typed_key
from fnopt.core.types import Batch, ModelState, Params
from fnopt.layers import Layers
from fnopt.layers.objective_functions import loss_of


def filter_normalized_directions(
    objective: Any, params: Params, batch: Batch, key: Any = 0, *, model_state: ModelState = None
) -> tuple[Params, Params]:
    r"""Two random directions, normalized filter by filter.

    A direction :math:`d` is drawn from the standard normal distribution, and each of its filters
    :math:`d_{i,j}` is scaled to the norm of the same filter of the parameters :math:`\theta`:

    .. math:: d_{i,j} \leftarrow \frac{d_{i,j}}{\lVert d_{i,j} \rVert} \lVert \theta_{i,j} \rVert

    A filter is what feeds one unit: of a kernel the numbers of an output channel, of an embedding
    the row of an entry. Layers are found in the computation of the loss, see
    :class:`fnopt.layers.Layers`. For parameters that are not multiplied with data, such as biases
    and those of normalizations, directions are 0, as in the authors' program. Weights that a layer
    derives from a leaf, as by weight normalization, and those in a ``while_loop`` have their units
    along the last axis.

    Args:
        objective: the objective, or a function ``loss(params, batch)``.
        params: the parameters, a tree of arrays.
        batch: a batch of the data, from which shapes follow.
        key: a PRNG key, or an integer to make one.
        model_state: the model state; if None the objective's initial one.

    Returns:
        Two trees like the parameters.

    Raises:
        ValueError: the loss multiplies no parameters with data.

    References:
        Li, Xu, Taylor, Studer & Goldstein, *Visualizing the loss landscape of neural nets*,
        NeurIPS 2018, arXiv:1712.09913, section 4.

    >>> import jax.numpy as jnp
    >>> params = {"kernel": jnp.array([[3.0, 0.0], [4.0, 2.0]]), "bias": jnp.ones(2)}
    >>> def loss(params, batch):
    ...     return jnp.mean((batch @ params["kernel"] + params["bias"][None]) ** 2)
    >>> one, other = filter_normalized_directions(loss, params, jnp.eye(2))
    >>> [round(float(x), 5) for x in jnp.linalg.norm(one["kernel"], axis=0)]
    [5.0, 2.0]
    >>> one["bias"].tolist()
    [0.0, 0.0]
    """
    key = typed_key(key)
    loss, rest = loss_of("filter_normalized_directions", objective, batch, model_state, key)
    layers = Layers(loss, params, batch, *rest)
    leaves, structure = jax.tree.flatten(params)
    whole = {layer.leaf: layer for layer in reversed(layers.layers) if layers.is_leaf(layer)}
    seen = {layer.leaf for layer in layers.layers}
    unseen = {number for number, path in enumerate(layers.paths) if path in layers.unseen}
    if not seen | unseen:
        raise ValueError(
            "filter_normalized_directions: the loss multiplies no parameters with data, so that"
            " there are no filters; take directions='principal'"
        )

    def direction(key: jax.Array) -> Params:
        normalized = []
        for number, leaf in enumerate(leaves):
            drawn = jax.random.normal(jax.random.fold_in(key, number), leaf.shape, leaf.dtype)
            if number in whole:
                layer = whole[number]
                normalized.append(_by_units(layers, layer, leaves, number, drawn))
            elif number in seen | unseen and leaf.ndim > 1:
                normalized.append(_scaled(drawn, leaf, tuple(range(leaf.ndim - 1))))
            else:
                normalized.append(jnp.zeros_like(leaf))
        return structure.unflatten(normalized)

    one, other = jax.random.split(key)
    return direction(one), direction(other)


def _by_units(layers: Layers, layer: Any, leaves: list[Any], number: int, drawn: Any) -> Any:
    """A drawn leaf with the norms of the weights of each unit, in whatever order its axes are."""

    def weights(leaf: Any) -> Any:
        return layers.weights_from(layer, [*leaves[:number], leaf, *leaves[number + 1 :]])

    wanted, back = jax.vjp(weights, leaves[number])
    stacked = len(layer.stack)
    units = {stacked + axis for axis in layer.weight_units}
    axes = set(range(stacked, wanted.ndim)) - units
    if layer.kind == "embedding":
        axes = units
    # The layout of the product is a rearrangement of the leaf, whose transpose is its inverse.
    return back(_scaled(weights(drawn), wanted, tuple(sorted(axes))))[0]


def _scaled(drawn: Any, wanted: Any, axes: tuple[int, ...]) -> Any:
    """An array scaled to the norms of another, each over some axes."""
    norms = [jnp.sqrt(jnp.sum(x**2, axes, keepdims=True)) for x in (drawn, wanted)]
    return drawn * (norms[1] / jnp.maximum(norms[0], np.finfo(np.float32).tiny))
