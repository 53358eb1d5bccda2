"""Checks of the arguments of ``pretrain_layerwise``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from fnopt.core import did_you_mean

Activation = Callable[[jax.Array], jax.Array]
"""A function of the sums that enter a layer's units."""
ACTIVATIONS: dict[str, Activation] = {
    name: getattr(jax.nn, name)
    for name in ("sigmoid", "tanh", "relu", "leaky_relu", "elu", "selu", "gelu", "silu", "softplus")
}


def as_inputs(data: Any) -> jax.Array:
    """The data as a matrix of examples and inputs."""
    data = jnp.asarray(data)
    if not jnp.issubdtype(data.dtype, jnp.floating):
        raise TypeError(
            f"pretrain_layerwise: data have dtype {data.dtype}; they must be floating, pixels"
            " divided by 255"
        )
    if data.ndim < 2 or not data.size:
        raise ValueError(
            "pretrain_layerwise: data must have examples along the first axis and inputs along the"
            f" others; they have shape {data.shape}"
        )
    return data.reshape(len(data), -1)


def activation_of(activation: str | Activation, method: str) -> Activation:
    """The activation function, checked together with the method."""
    if method not in ("denoising", "rbm"):
        raise ValueError(f"pretrain_layerwise: method must be 'denoising' or 'rbm', got {method!r}")
    if isinstance(activation, str):
        if activation not in ACTIVATIONS:
            raise ValueError(
                f"pretrain_layerwise: activation={activation!r} is not known;"
                f" {did_you_mean(activation, ACTIVATIONS)}; or give a function"
            )
        activation = ACTIVATIONS[activation]
    if method == "rbm" and activation is not jax.nn.sigmoid:
        raise ValueError(
            "pretrain_layerwise: method='rbm' has sigmoid units; give activation='sigmoid', or"
            " method='denoising' for another"
        )
    return activation


def is_binary(visible: str | None, data: jax.Array) -> bool:
    """Whether data are in [0, 1]."""
    if visible not in (None, "binary", "gaussian"):
        raise ValueError(
            f"pretrain_layerwise: visible must be 'binary' or 'gaussian', got {visible!r}"
        )
    if isinstance(data, Tracer):
        if visible is None:
            raise ValueError(
                "pretrain_layerwise: the range of traced data is not known; give visible='binary'"
                " if they lie in [0, 1], else visible='gaussian'"
            )
        return visible == "binary"
    values = np.asarray(data)  # jax would trace it where it is under a jit
    if not np.all(np.isfinite(values)):
        raise ValueError("pretrain_layerwise: data must be finite; leave out what is missing")
    low, high = float(np.min(values)), float(np.max(values))
    inside = 0 <= low and high <= 1
    if visible == "binary" and not inside:
        raise ValueError(
            f"pretrain_layerwise: visible='binary' needs data in [0, 1]; they lie in [{low:g},"
            f" {high:g}]. Scale them, or standardize them and give visible='gaussian'"
        )
    return inside if visible is None else visible == "binary"
