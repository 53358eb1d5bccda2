"""Which leaves are matrices, and how, as the program of a model has them."""

from __future__ import annotations

import collections
import dataclasses
from typing import Any

import jax
import jax.numpy as jnp

from fnopt.core.prng import typed_key
from fnopt.core.types import Batch, ModelState, Params
from fnopt.layers import Layer, Layers
from fnopt.layers.objective_functions import first_params, loss_of
from fnopt.matrix.choice import Matrices, as_matrices
from fnopt.matrix.view import MatrixView, Seen


def matrices_of(
    objective: Any,
    params: Params = None,
    batch: Batch = None,
    *,
    matrices: Any = None,
    model_state: ModelState = None,
    key: Any = 0,
) -> Matrices:
    """How the leaves of a model's parameters are matrices, read off its program.

    The loss is traced, not run. A leaf by which a product multiplies data is a matrix: contracted
    axes are its inputs, kept ones its outputs, and the axes along which a loop or a batched product
    takes slices count the matrices. Rows that are looked up are an embedding; a layer whose output
    no other layer reads is a head; what no layer reads is no matrix. Nothing is guessed, and names
    have no meaning.

    Leaves that are changed before the product (normalized, merged with others), and those used in
    functions whose layers are not seen (:data:`fnopt.layers.UNSEEN`), are left to names and shapes.

    Args:
        objective: an objective, as :func:`fnopt.train.objective` makes it, or a function
            ``loss(params, batch)``.
        params: the parameters, arrays or their shapes; if None those with which the objective
            begins.
        batch: a batch of the training data, of which shapes suffice.
        matrices: rules for paths that come before the program, as those of :class:`muon`.
        model_state: the model state; if None the objective's initial one.
        key: a PRNG key, or an integer to make one, for what the objective draws.

    Returns:
        What ``muon(…, matrices=…)`` and the like take; it prints as rules, and is hashable.

    Raises:
        TypeError: the objective is neither an objective nor a function.
        ValueError: a rule matches no leaf, or the program has no layers.

    >>> import fnopt, jax.numpy as jnp
    >>> params = {"a": jnp.ones((12, 3, 3)), "z": jnp.ones((3, 5)), "s": jnp.ones((2, 3))}
    >>> def loss(params, batch):
    ...     x, _ = jax.lax.scan(lambda x, a: (jnp.tanh(a @ x), None), batch, params["a"])
    ...     return jnp.sum(x @ params["z"]) + jnp.sum(params["s"])
    >>> fnopt.matrices_of(loss, params, jnp.ones(3))
    (('a', 'stack out in'), ('s', 'other'), ('z', 'head in out'))
    """
    key = typed_key(key)
    if params is None:
        params = first_params("matrices_of", objective, batch, key)
    rules = as_matrices(matrices)
    rules.check("matrices_of", params)
    loss, rest = loss_of("matrices_of", objective, batch, model_state, key)
    layers = Layers(loss, params, batch, *rest)
    if not layers.layers and not layers.unseen:
        raise ValueError(
            "matrices_of: the loss multiplies no parameters with anything that depends on the"
            " batch; give it as loss(params, batch)"
        )
    uses: dict[int, list[Layer]] = collections.defaultdict(list)
    for layer in layers.layers:
        uses[layer.leaf].append(layer)
    # A leaf of which only a part, or a change, is multiplied is no layer's own.
    left = {i for layer in layers.layers for i in layer.leaves} - set(uses)
    left |= {i for i, path in enumerate(layers.paths) if path in layers.unseen} - set(uses)
    by_program = []
    for i, leaf in enumerate(jax.tree.leaves(params)):
        path, shape = layers.paths[i], tuple(jnp.shape(leaf))
        seen = None if i in left else _read(layers, uses[i], path, shape)
        if seen is not None:
            by_program.append(rules.by_rule(path, leaf, seen))
    return dataclasses.replace(rules, leaves=(*by_program, *rules.leaves))


def _read(layers: Layers, uses: list[Layer], path: str, shape: tuple[int, ...]) -> Seen | None:
    """How a leaf is seen that layers read; None if the program does not tell."""
    other = Seen(path, shape, "other", None, "program")
    if not uses:
        return other
    # Tied weights are looked up before they are a head.
    first = min(uses, key=lambda layer: layer.kind != "embedding")
    words = _words(layers, first, len(shape))
    if words is None or not {"in", "out"} <= set(words):
        return other if words else None
    kind = "hidden" if any(layer.hidden for layer in uses) else "head"
    kind = "embedding" if first.kind == "embedding" else kind
    return Seen(path, shape, kind, MatrixView(words, shape), "program")


def _words(layers: Layers, layer: Layer, rank: int) -> tuple[str, ...] | None:
    outs = set(layer.weight_units) - set(layer.weight_batch)
    of_outs = layers.leaf_axes(layer, tuple(sorted(outs)))
    of_batch = layers.leaf_axes(layer, layer.weight_batch)
    if of_outs is None or of_batch is None:
        return None
    stack = {*of_batch, *(layer.stack_axes or ())}
    return tuple(
        "stack" if axis in stack else "out" if axis in of_outs else "in" for axis in range(rank)
    )
