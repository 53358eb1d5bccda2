r"""Initial weights for deep residual networks without normalization."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp

from fnopt.core import computing_dtype
from fnopt.core.checks import positive_integer
from fnopt.core.select import Pattern, matches, nearest, path_name, show
from fnopt.core.types import Params


def zero_last_layer(params: Params, *layers: Pattern) -> Params:
    r"""Sets layers to 0, so that each residual block returns its input at first.

    .. math:: x_{l+1} = x_l + F_l(x_l), \qquad F_l = 0 \text{ at first}

    To that end the last layer of :math:`F_l` is 0, or the scale of the normalization after it. A
    layer of zeros learns where its inputs differ from unit to unit; two in a row never would.

    Args:
        params: the parameters.
        *layers: the leaves to set to 0: globs of their paths, tuples of globs, or functions of
            path and leaf; at least one.

    Returns:
        The parameters with those leaves 0.

    Raises:
        ValueError: there is no pattern, or one matches nothing. The message has the nearest paths.

    References:
        Goyal et al., *Accurate, large minibatch SGD: training ImageNet in 1 hour*, 2017,
        arXiv:1706.02677, Section 5.1 (the last scale of a block); Zhang, Dauphin & Ma, *Fixup
        initialization: residual learning without normalization*, ICLR 2019, arXiv:1901.09321.

    >>> import jax.numpy as jnp
    >>> from fnopt import initialize
    >>> params = {"block": {"conv": {"scale": jnp.ones(2)}, "last": {"scale": jnp.ones(2)}}}
    >>> initialize.zero_last_layer(params, "*/last/scale")["block"]["last"]["scale"]
    Array([0., 0.], dtype=float32)
    """
    if not layers:
        raise ValueError("zero_last_layer: which layers? Give patterns, as '*/last/kernel'")
    return _rescaled("zero_last_layer", params, [(pattern, 0.0) for pattern in layers])


def fixup(
    params: Params,
    layers: Sequence[Pattern],
    classifier: Pattern | None = None,
    *,
    branches: int | None = None,
) -> Params:
    r"""Rescales the weights of residual branches so that the first steps do not grow with depth.

    With :math:`L` branches of :math:`m` layers each, starting from a standard initialization such
    as He's,

    .. math:: W_k \leftarrow L^{-1/(2m - 2)}\,W_k \quad (k < m), \qquad W_m \leftarrow 0, \qquad
        W_{\text{classifier}} \leftarrow 0

    so that a step of gradient descent changes the outputs by :math:`\Theta(\eta)` at any depth.
    These are the paper's rules 1 and 2. Rule 3 is the model's: a scalar bias, 0 at first,
    before every layer and activation, and a scalar multiplier, 1 at first, in every branch; and no
    normalization. Without rule 3 deep nets train, but to a lower accuracy.

    Args:
        params: the parameters, freshly drawn.
        layers: the :math:`m \ge 1` weights of a branch in the order of their computation, each a
            pattern that matches it in all branches: ``("*/conv1/kernel", "*/conv2/kernel")``. With
            :math:`m = 1` they are only set to 0.
        classifier: the leaves of the last layer of the net, bias too: ``"head/*"``; none if None.
        branches: :math:`L \ge 1`, the number of branches of the whole net; if None the number of
            leaves that each pattern matches, which must be the same for all. Give it where layers
            are stacked in one leaf for a ``scan``, or where branches have different numbers of
            layers: then call once for each kind.

    Returns:
        The parameters, in the dtypes they had.

    Raises:
        TypeError: ``layers`` is one pattern, or ``branches`` no integer.
        ValueError: ``layers`` is empty, ``branches`` is below 1, a pattern matches nothing, two
            match one leaf, or they match different numbers of leaves.

    References:
        Zhang, Dauphin & Ma, *Fixup initialization: residual learning without normalization*, ICLR
        2019, arXiv:1901.09321, Section 3.2 and eq. 5.

    >>> import jax.numpy as jnp
    >>> from fnopt import initialize
    >>> block = {"a": jnp.ones(1), "b": jnp.ones(1), "c": jnp.ones(1)}
    >>> params = {"blocks": [block] * 16, "head": jnp.ones(1)}
    >>> params = initialize.fixup(params, ("*/a", "*/b", "*/c"), "head")
    >>> [float(leaf[0]) for leaf in params["blocks"][0].values()]   # 16 ** (-1 / 4)
    [0.5, 0.5, 0.0]
    """
    if isinstance(layers, str) or callable(layers):
        raise TypeError(f"fixup: layers must be a sequence, a pattern a layer, got {layers!r}")
    if not layers:
        raise ValueError("fixup: layers must name the weights of a branch, at least one")
    paths = [(path_name(path), leaf) for path, leaf in jax.tree_util.tree_leaves_with_path(params)]
    counts = [sum(matches(pattern, *leaf) for leaf in paths) for pattern in layers]
    if branches is None:
        if len(set(counts)) > 1:
            shown = ", ".join(f"{show(p)!r}: {n}" for p, n in zip(layers, counts, strict=True))
            raise ValueError(
                f"fixup: the layers of a branch must match equally often, got {shown}; correct the"
                " patterns, or say how many branches the net has: branches=…"
            )
        branches = max(counts[0], 1)  # none at all is refused below
    branches = positive_integer("fixup: branches", branches)
    m = len(layers)
    factor = branches ** (-1 / (2 * m - 2)) if m > 1 else 1.0
    factors = [(pattern, factor) for pattern in layers[:-1]] + [(layers[-1], 0.0)]
    if classifier is not None:
        factors.append((classifier, 0.0))
    return _rescaled("fixup", params, factors)


def _rescaled(name: str, params: Params, factors: list[tuple[Pattern, float]]) -> Params:
    """Leaves times the factor of the one pattern that matches; the others as they are."""
    leaves, treedef = jax.tree_util.tree_flatten_with_path(params)
    paths = [path_name(path) for path, _ in leaves]
    counts, new_leaves = [0] * len(factors), []
    for path, (_, leaf) in zip(paths, leaves, strict=True):
        matching = [i for i, (pattern, _) in enumerate(factors) if matches(pattern, path, leaf)]
        own = {factors[i][1] for i in matching}
        if len(own) > 1:
            shown = " and ".join(repr(show(factors[i][0])) for i in matching)
            raise ValueError(f"{name}: {path} is matched by {shown}, which do not do the same")
        for i in matching:
            counts[i] += 1
        new_leaves.append(rescaled(leaf, own.pop()) if own else leaf)
    for (pattern, _), count in zip(factors, counts, strict=True):
        if not count:
            near = ", ".join(nearest(pattern, paths))
            raise ValueError(f"{name}: {show(pattern)!r} matches no path; the nearest: {near}")
    return treedef.unflatten(new_leaves)


def rescaled(leaf: Any, factor: float) -> Any:
    """A leaf times a number, computed in float32 at least, in the dtype it had."""
    if not factor:
        return jnp.zeros_like(leaf)  # not -0.0
    if not hasattr(leaf, "dtype"):
        return factor * leaf
    return (factor * leaf.astype(computing_dtype(leaf.dtype))).astype(leaf.dtype)
