"""The dense layers of a tree of parameters that follow one another, by their shapes."""

from __future__ import annotations

import re
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from fnopt.core.select import Pattern, matches, nearest, path_name, show
from fnopt.core.types import Params


class Dense(NamedTuple):
    """A dense layer.

    Attributes:
        path: the path of its kernel.
        kernel, bias: the numbers of these two leaves in the flat tree.
    """

    path: str
    kernel: int
    bias: int


def dense_stack(params: Params, layers: Pattern | None, inputs: int) -> list[Dense]:
    """The layers to train, in order; each reads the outputs of the one before it.

    Args:
        params: a tree with kernels of shape (in, out), each with a bias (out,) next to it.
        layers: patterns of the kernels' paths; a tuple of patterns is in the order of the layers,
            and the matches of one pattern in the order of the paths, numbers in them by their size.
            If None all kernels in that order but the last, the head.
        inputs: the width of the data.

    Raises:
        TypeError: a kernel is not floating.
        ValueError: a pattern matches no kernel, or a kernel is no matrix, has no bias or another
            number of inputs than the layer before has outputs. The message has the path.
    """
    flat = jax.tree_util.tree_flatten_with_path(params)[0]
    leaves = {path_name(path): (number, leaf) for number, (path, leaf) in enumerate(flat)}
    kernels = {path: leaf for path, (_, leaf) in leaves.items() if jnp.ndim(leaf) > 1}
    stack, before, width = [], "the data", inputs
    for path in _chosen(kernels, layers):
        shape = jnp.shape(kernels[path])
        if len(shape) != 2:
            raise ValueError(
                f"pretrain_layerwise: {path} has shape {shape}; only dense layers, with kernels of"
                " shape (in, out), are pretrained, no convolutions and no layers that are stacked"
                " for a scan. Name those by layers=, the first first"
            )
        if shape[0] != width:
            raise ValueError(
                f"pretrain_layerwise: {path} takes {shape[0]} inputs, but {before} before it gives"
                f" {width}. Name the layers that follow one another by layers=, the first first"
            )
        dtype = jnp.result_type(kernels[path])
        if not jnp.issubdtype(dtype, jnp.floating):
            raise TypeError(
                f"pretrain_layerwise: {path} has dtype {dtype}; only real floating kernels are"
                " pretrained"
            )
        stack.append(Dense(path, leaves[path][0], leaves[_bias(path, shape, leaves)][0]))
        before, width = path, shape[1]
    return stack


def _chosen(kernels: dict[str, Any], layers: Pattern | None) -> list[str]:
    in_order = sorted(kernels, key=_by_numbers)
    if layers is None:
        if len(in_order) < 2:
            raise ValueError(
                f"pretrain_layerwise: params have {len(in_order)} kernels, the last of which would"
                " be the head; name the layers to pretrain by layers="
            )
        return in_order[:-1]
    chosen: list[str] = []
    for pattern in layers if isinstance(layers, tuple) else (layers,):
        matching = [path for path in in_order if matches(pattern, path, kernels[path])]
        if not matching:
            near = ", ".join(nearest(pattern, kernels)) or "none"
            raise ValueError(
                f"pretrain_layerwise: layers={show(pattern)!r} matches no kernel; kernels: {near}"
            )
        chosen += [path for path in matching if path not in chosen]
    return chosen


def _bias(path: str, shape: tuple[int, ...], leaves: dict[str, tuple[int, Any]]) -> str:
    """The path of the one vector next to a kernel that has its width."""
    node = path.rpartition("/")[0]
    biases = [
        other
        for other, (_, leaf) in leaves.items()
        if other.rpartition("/")[0] == node and jnp.shape(leaf) == shape[1:]
    ]
    if len(biases) != 1:
        raise ValueError(
            f"pretrain_layerwise: {path} needs one bias of shape {shape[1:]} next to it; there are"
            f" {biases or 'none'}"
        )
    return biases[0]


def _by_numbers(path: str) -> list[Any]:
    """A key for sorting in which ``layer10`` comes after ``layer2``."""
    words = re.split(r"(\d+)", path)
    return [int(word) if i % 2 else word for i, word in enumerate(words)]
