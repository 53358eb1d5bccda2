"""A layer as a restricted Boltzmann machine, trained by contrastive divergence."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from jax.nn import sigmoid

from fnopt.core import Number, Schedule, Static, Transform, add_decayed_weights, chain, trace
from fnopt.core import scale_by_learning_rate as by_rate
from fnopt.core.select import decay_mask
from fnopt.core.value import Value


class restricted_boltzmann_machine(Value):
    r"""A layer as the hidden units of a Boltzmann machine that models its inputs.

    .. math::
        E(v, h) = -b^\top v - c^\top h - v^\top W h, \qquad
        p(h_j = 1 \mid v) = \sigma(c + v W)_j, \qquad p(v_i = 1 \mid h) = \sigma(b + W h)_i

    or, of Gaussian inputs of unit variance, :math:`E(v, h) = \tfrac12 \lVert v - b \rVert^2 -
    c^\top h - v^\top W h` with :math:`v \mid h \sim N(b + W h, I)`. Contrastive divergence goes
    :math:`k` times from an example :math:`v^0` to hidden units and back, and uses

    .. math::
        \Delta W = \bigl\langle v^0 p(h \mid v^0)^\top \bigr\rangle
            - \bigl\langle v^k p(h \mid v^k)^\top \bigr\rangle, \qquad
        \Delta b = \langle v^0 - v^k \rangle, \qquad
        \Delta c = \bigl\langle p(h \mid v^0) - p(h \mid v^k) \bigr\rangle

    as the gradient of :math:`\log p(v^0)`, which it approaches as :math:`k` grows if visible units
    are drawn. Hidden units are drawn, except the last, whose probabilities are used; visible units
    are their probabilities (or means), unless ``sample_visible``.

    Args:
        k: the number of round trips, at least 1.
        binary: whether the inputs lie in [0, 1]; otherwise they are Gaussian.
        sample_visible: whether visible units are drawn too.

    References:
        Hinton, *Training products of experts by minimizing contrastive divergence*, Neural
        Computation 14(8), 2002, doi:10.1162/089976602760128018; *A practical guide to training
        restricted Boltzmann machines*, UTML TR 2010-003, Sections 3 (what is drawn), 8 (the biases
        at the start) and 13.2 (Gaussian units).
    """

    k: Static[int] = 1
    binary: Static[bool] = True
    sample_visible: Static[bool] = False

    def init(self, kernel: jax.Array, bias: jax.Array, inputs: jax.Array) -> dict[str, jax.Array]:
        r"""The initial weights: W, c, and b with which the inputs have their means.

        Of binary units :math:`b_i = \log p_i / (1 - p_i)` with :math:`p_i = (\sum_n v_{ni} +
        \tfrac12) / (n + 1)`, which is neither 0 nor 1.
        """
        mean = (jnp.sum(inputs, axis=0) + 0.5) / (len(inputs) + 1)
        visible = jnp.log(mean) - jnp.log1p(-mean) if self.binary else jnp.mean(inputs, axis=0)
        return {"kernel": kernel, "bias": bias, "visible_bias": visible}

    def gradient(
        self, weights: dict[str, jax.Array], inputs: jax.Array, key: jax.Array
    ) -> tuple[jax.Array, dict[str, jax.Array]]:
        """The squared error of the first reconstruction, and the estimate of the gradient of
        −log p, both means over a batch."""
        kernel, c, b = weights["kernel"], weights["bias"][None], weights["visible_bias"][None]

        def round_trip(hidden: jax.Array, key: jax.Array) -> tuple[jax.Array, Any]:
            of_hidden, of_visible = jax.random.split(key)
            h = _drawn(of_hidden, hidden)
            mean = h @ kernel.T + b
            mean = visible = sigmoid(mean) if self.binary else mean
            if self.sample_visible:
                noise = jax.random.normal(of_visible, mean.shape, mean.dtype)
                visible = _drawn(of_visible, mean) if self.binary else mean + noise
            error = jnp.mean(jnp.sum((inputs - mean) ** 2, axis=1))
            return sigmoid(visible @ kernel + c), (visible, error)

        positive = sigmoid(inputs @ kernel + c)
        # The first apart, whose error is reported; a scan keeps the program small for a large k.
        keys = jax.random.split(key, self.k)
        negative, (visible, error) = round_trip(positive, keys[0])

        def repeat(carry: Any, key: jax.Array) -> Any:
            hidden, (visible, _) = round_trip(carry[0], key)
            return (hidden, visible), None

        (negative, visible), _ = jax.lax.scan(repeat, (negative, visible), keys[1:])
        return error, {
            "kernel": (visible.T @ negative - inputs.T @ positive) / len(inputs),
            "bias": jnp.mean(negative - positive, axis=0),
            "visible_bias": jnp.mean(visible - inputs, axis=0),
        }


def _drawn(key: jax.Array, probability: jax.Array) -> jax.Array:
    drawn = jax.random.uniform(key, probability.shape, probability.dtype) < probability
    return drawn.astype(probability.dtype)


class two_momenta(Schedule):
    """A momentum that changes once, at some count.

    Args:
        early: the momentum of the first updates.
        late: the momentum after them.
        updates: number of updates with the first one.
    """

    early: Number
    late: Number
    updates: Number

    def at(self, count: jax.Array) -> Any:
        return jnp.where(count < self.updates, self.early, self.late)


def as_in_the_guide(steps_per_epoch: int) -> Transform:
    """Gradient descent at a rate of 0.1, with momentum 0.5 for five epochs and 0.9 after, and a
    decay of kernels of 2e-4 (Hinton 2010, Sections 7.1, 9.1 and 10.1)."""
    return chain(
        add_decayed_weights(2e-4, mask=decay_mask),
        trace(two_momenta(0.5, 0.9, 5 * steps_per_epoch)),
        by_rate(0.1),
    )
