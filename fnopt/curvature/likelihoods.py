"""Distributions of targets, given outputs: draws, and their factor in a loss."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import jax
import jax.numpy as jnp

from fnopt.core.moments import cast, computing_dtype, root
from fnopt.core.types import Outputs


@dataclasses.dataclass(frozen=True)
class Likelihood:
    r"""A distribution :math:`p(y \mid z)` of a target :math:`y` for outputs :math:`z`.

    Attributes:
        draw: a function of a key and outputs that returns :math:`\nabla_z(-\log p(\hat y \mid z))`
            of a drawn :math:`\hat y`, an array like the outputs.
        probe: a function of outputs that returns an array like them, at which the curvature is
            known, also the direction of it.
        curvature: a function of such a probe that returns :math:`u^\top H u` of a target at and
            along it, with :math:`H` the Hessian of :math:`-\log p`.
        joint: whether the outputs along the last axis are of one target.
    """

    draw: Callable[[jax.Array, jax.Array], jax.Array]
    probe: Callable[[jax.Array], jax.Array]
    curvature: Callable[[jax.Array], jax.Array]
    joint: bool = False


def factors(
    likelihood: Likelihood, loss: Callable[[Outputs], jax.Array], outputs: Outputs
) -> Outputs:
    r"""What :math:`-\log p` of each target is multiplied by in a loss.

    It is the quotient of the curvatures of both along one direction. They do not depend on the
    targets, and that of the loss has no products of different targets.

    Args:
        likelihood: the distribution.
        loss: the loss as a function of the outputs, a scalar.
        outputs: the outputs, for their shapes and dtypes; a point at which the curvature is not
            small is taken instead of them.

    Returns:
        A tree of arrays, at least 0, that broadcast against the outputs.
    """
    probe = jax.tree.map(likelihood.probe, outputs)
    _, product = jax.jvp(jax.grad(loss), (probe,), (probe,))

    def factor(probe: jax.Array, product: jax.Array) -> jax.Array:
        along = probe * product
        along = jnp.sum(along, -1, keepdims=True) if likelihood.joint else along
        # The loss of what does not count, such as of a label of -1, may be NaN.
        return jnp.where(along > 0, along / likelihood.curvature(probe), jnp.zeros_like(along))

    return jax.tree.map(factor, probe, product)


def drawn_gradient(
    method: str,
    name: str,
    loss: Callable[[Outputs], jax.Array],
    outputs: Outputs,
    key: jax.Array,
    otherwise: str,
) -> Outputs:
    r"""The derivative by the outputs of the loss of drawn targets, :math:`\sqrt{c}` times each.

    Its second moment is the curvature of a loss :math:`\sum_i -c_i \log p(y_i \mid z_i)`.

    Args:
        method: the name of the caller, for errors.
        name: the distribution, one of :data:`LIKELIHOODS`.
        loss: the loss as a function of the outputs, a scalar.
        outputs: the outputs.
        key: the key of the draws.
        otherwise: what to take for other outputs, for errors.

    Returns:
        A tree like the outputs.

    Raises:
        TypeError: outputs are not real numbers, or lack the axis of classes.
    """
    likelihood = LIKELIHOODS[name]
    leaves, treedef = jax.tree.flatten(outputs)
    for leaf in leaves:
        if not jnp.issubdtype(leaf.dtype, jnp.floating) or leaf.ndim < likelihood.joint:
            raise TypeError(
                f"{method}: outputs of shape {leaf.shape} and dtype {leaf.dtype} are none of"
                f" likelihood {name!r}; take {otherwise}"
            )
    wide = [cast(leaf, computing_dtype(leaf.dtype)) for leaf in leaves]
    by_leaf = factors(likelihood, lambda xs: loss(treedef.unflatten(xs)), wide)
    keys = jax.random.split(key, len(leaves))
    return treedef.unflatten(
        cast(root(factor) * likelihood.draw(subkey, x), leaf.dtype)
        for subkey, factor, x, leaf in zip(keys, by_leaf, wide, leaves, strict=True)
    )


def _draw_class(key: jax.Array, logits: jax.Array) -> jax.Array:
    classes = jax.random.categorical(key, logits)
    return jax.nn.softmax(logits) - jax.nn.one_hot(classes, logits.shape[-1], dtype=logits.dtype)


def _draw_label(key: jax.Array, logits: jax.Array) -> jax.Array:
    chance = jax.nn.sigmoid(logits)
    return chance - jax.random.bernoulli(key, chance).astype(logits.dtype)


def _draw_noise(key: jax.Array, means: jax.Array) -> jax.Array:
    return jax.random.normal(key, means.shape, means.dtype)


def _first_class(logits: jax.Array) -> jax.Array:
    return jax.nn.one_hot(jnp.zeros(logits.shape[:-1], int), logits.shape[-1], dtype=logits.dtype)


def _variance(chance: jax.Array) -> jax.Array:
    return chance * (1 - chance)


LIKELIHOODS = {
    "categorical": Likelihood(
        _draw_class,
        _first_class,
        lambda logits: _variance(jax.nn.softmax(logits)[..., :1]),
        joint=True,
    ),
    "bernoulli": Likelihood(
        _draw_label, jnp.ones_like, lambda logits: _variance(jax.nn.sigmoid(logits))
    ),
    "normal": Likelihood(_draw_noise, jnp.ones_like, jnp.ones_like),
}
"""The distributions by name: of logits, of logits of each element, of means with variance 1."""
