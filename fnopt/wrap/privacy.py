"""Differentially private gradient descent."""

from __future__ import annotations

import math
from typing import Annotated, Any, ClassVar

import jax
import jax.numpy as jnp
from optax.contrib import DifferentiallyPrivateAggregateState

from fnopt.core import (
    Composed,
    Decay,
    Rate,
    Seed,
    Static,
    Transform,
    as_key,
    computing_dtype,
    identity,
    scale_by_learning_rate,
    trace,
)
from fnopt.core.checks import Interval, float_leaves, leaves_like, refuse_state, same_shape
from fnopt.core.fields import Field
from fnopt.core.moments import cast
from fnopt.core.schedule import to_dtype
from fnopt.core.types import OptState, Params, Updates
from fnopt.wrap.per_example import number_of_examples, per_example_global_norm_clip

# No schedules: the privacy spent is accounted for numbers that stay.
Bound = Annotated[Any, Field(Interval("(0, inf)"))]
Multiplier = Annotated[Any, Field(Interval("[0, inf)"))]


class differentially_private_aggregate(Transform):
    r"""The mean of clipped gradients of single examples, with noise.

    .. math:: u = \tfrac{1}{L}\Bigl(\textstyle\sum_{i=1}^{L} g_i \min(1, C / \lVert g_i \rVert)
        + \mathcal N(0, \sigma^2 C^2)\Bigr)

    It stands first in a chain, and its updates are gradients of single examples: every leaf has
    them along its first axis (``jax.vmap(jax.grad(loss), (None, 0))``). The output has the
    shape of the parameters. Averaging gradients before it, over micro-batches say, voids the
    guarantee. Noise is drawn in single precision at least.

    When:
        The data are private and their influence on the model must be bounded. How much privacy is
        spent is for an accountant to say: fnopt has none.

    Args:
        l2_norm_clip: :math:`C > 0`.
        noise_multiplier: :math:`\sigma \ge 0`.
        key: the seed of the noise, or a key. There is no default: noise that is known hides
            nothing.

    Raises:
        ValueError: an update has no axis of examples, or not the parameter's shape behind it.

    References:
        Abadi et al., *Deep learning with differential privacy*, CCS 2016, arXiv:1607.00133,
        Algorithm 1.

    >>> import fnopt, jax, jax.numpy as jnp
    >>> tx = fnopt.chain(
    ...     fnopt.differentially_private_aggregate(1.0, noise_multiplier=1.1, key=0),
    ...     fnopt.scale_by_learning_rate(0.1),
    ... )
    >>> def loss(w, x):
    ...     return (w - x) ** 2
    >>> w, data = jnp.array(0.0), jnp.array([1.0, 2.0, 3.0])
    >>> grads = jax.vmap(jax.grad(loss), (None, 0))(w, data)  # one for each example
    >>> updates, state = tx.update(grads, tx.init(w), w)
    """

    l2_norm_clip: Bound
    noise_multiplier: Multiplier
    key: Seed

    def init(self, params: Params) -> DifferentiallyPrivateAggregateState:
        float_leaves("params", params)
        return DifferentiallyPrivateAggregateState(as_key(self.key))

    def update(
        self, updates: Updates, state: OptState, params: Params = None, **extra_args: Any
    ) -> tuple[Updates, OptState]:
        if getattr(state, "_fields", None) != DifferentiallyPrivateAggregateState._fields:
            refuse_state(self, state)
        paths, grads, treedef = float_leaves("updates", updates)
        examples = number_of_examples(updates)
        if params is not None:
            for path, grad, param in zip(
                paths, grads, leaves_like(treedef, "params", params, "updates"), strict=True
            ):
                same_shape(f"an example of {path}", grad.shape[1:], jnp.shape(param), "parameter")
        real = jnp.finfo(computing_dtype(*(grad.dtype for grad in grads))).dtype
        wide = [cast(grad, computing_dtype(grad.dtype, real)) for grad in grads]
        total, _ = per_example_global_norm_clip(wide, self.l2_norm_clip)
        key, *keys = jax.random.split(state.rng_key, len(grads) + 1)
        deviation = to_dtype(self.l2_norm_clip, real) * to_dtype(self.noise_multiplier, real)
        with jax.numpy_dtype_promotion("standard"):  # a real deviation, complex noise
            means = [
                (sum_ + deviation * _noise(k, sum_)) / examples
                for sum_, k in zip(total, keys, strict=True)
            ]
        means = [cast(mean, grad.dtype) for mean, grad in zip(means, grads, strict=True)]
        return treedef.unflatten(means), DifferentiallyPrivateAggregateState(key)


def _noise(key: jax.Array, like: jax.Array) -> jax.Array:
    """Noise of variance 1 in every real number; jax's complex one has it in both together."""
    noise = jax.random.normal(key, like.shape, like.dtype)
    return math.sqrt(2) * noise if jnp.iscomplexobj(like) else noise


class dpsgd(Composed):
    r"""Gradient descent with momentum on private gradients of single examples.

    .. math:: v_t = u_t + \beta\,v_{t-1}, \qquad \Delta\theta_t = -\eta_t\,v_t

    with :math:`u_t` of :class:`differentially_private_aggregate`, which says what its updates are.

    When:
        As :class:`differentially_private_aggregate`, which also goes before any other method.

    Args:
        learning_rate: :math:`\eta \ge 0`.
        l2_norm_clip: :math:`C > 0`, the bound of an example's norm.
        noise_multiplier: :math:`\sigma \ge 0`, in units of that bound.
        seed: the seed of the noise, or a key.
        momentum: :math:`\beta \in [0, 1)`; without momentum if None.
        nesterov: look ahead along the momentum.

    References:
        Abadi et al., *Deep learning with differential privacy*, CCS 2016, arXiv:1607.00133,
        Algorithm 1; the momentum is an addition.

    >>> import fnopt, jax, jax.numpy as jnp
    >>> tx = fnopt.dpsgd(0.1, l2_norm_clip=1.0, noise_multiplier=1.1, seed=0)
    >>> def loss(w, x):
    ...     return (w - x) ** 2
    >>> w, data = jnp.array(0.0), jnp.array([1.0, 2.0, 3.0])
    >>> grads = jax.vmap(jax.grad(loss), (None, 0))(w, data)  # one for each example
    >>> updates, state = tx.update(grads, tx.init(w), w)
    """

    learning_rate: Rate
    l2_norm_clip: Bound
    noise_multiplier: Multiplier
    seed: Seed
    momentum: Decay = None
    nesterov: Static[bool] = False
    family = "gradient_descent"
    example: ClassVar[dict[str, Any]] = {"l2_norm_clip": 1.0, "noise_multiplier": 1.0, "seed": 0}

    def parts(self) -> tuple[Transform, ...]:
        momentum = identity()
        if self.momentum is not None:
            momentum = trace(self.momentum, self.nesterov)
        return (
            differentially_private_aggregate(self.l2_norm_clip, self.noise_multiplier, self.seed),
            momentum,
            scale_by_learning_rate(self.learning_rate),
        )
