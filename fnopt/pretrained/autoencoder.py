"""A layer as a denoising autoencoder, trained without labels."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

import jax
import jax.numpy as jnp

from fnopt.core import Static
from fnopt.core.checks import Interval
from fnopt.core.fields import Field
from fnopt.core.value import Value

Share = Annotated[Any, Field(Interval("[0, 1)"))]


class denoising_autoencoder(Value):
    r"""A layer that learns to restore its inputs from a part of them.

    With a mask :math:`m_i \sim \mathrm{Bernoulli}(1 - q)` drawn for each example and step,

    .. math::
        \tilde x = m \odot x, \qquad y = s(\tilde x W + c), \qquad a = y W' + b

    and, with the reconstruction :math:`z = \sigma(a)` for inputs in [0, 1] and :math:`z = a` for
    others, it minimizes the mean over the examples of

    .. math::
        L = -\sum_i \bigl(x_i \log z_i + (1 - x_i) \log(1 - z_i)\bigr)
        \quad\text{or}\quad L = \sum_i (x_i - z_i)^2

    Args:
        corruption: :math:`q \in [0, 1)`, the share of inputs that are set to 0; 0 is the plain
            autoencoder.
        activation: :math:`s`, a function of the sums that enter the hidden units.
        binary: whether the inputs lie in [0, 1].
        tied: whether :math:`W' = W^\top`; otherwise :math:`W'` is learnt and only starts so.

    References:
        Vincent, Larochelle, Bengio & Manzagol, *Extracting and composing robust features with
        denoising autoencoders*, ICML 2008, doi:10.1145/1390156.1390294, Sections 2.2 and 2.3;
        Bengio, Lamblin, Popovici & Larochelle, *Greedy layer-wise training of deep networks*,
        NIPS 2006, Section 3, for :math:`q = 0`.
    """

    corruption: Share
    activation: Static[Callable[[jax.Array], jax.Array]]
    binary: Static[bool] = True
    tied: Static[bool] = True

    def init(self, kernel: jax.Array, bias: jax.Array, inputs: jax.Array) -> dict[str, jax.Array]:
        """The initial weights: W, c, b = 0, and W' where it is not tied."""
        weights = {"kernel": kernel, "bias": bias, "visible_bias": jnp.zeros_like(kernel[:, 0])}
        return weights if self.tied else weights | {"decoder": kernel.T}

    def gradient(
        self, weights: dict[str, jax.Array], inputs: jax.Array, key: jax.Array
    ) -> tuple[jax.Array, dict[str, jax.Array]]:
        """The mean loss of a batch and its gradient."""
        mask = jax.random.uniform(key, inputs.shape, inputs.dtype) >= self.corruption
        corrupted = jnp.where(mask, inputs, jnp.zeros_like(inputs))
        return jax.value_and_grad(self.loss)(weights, corrupted, inputs)

    def loss(
        self, weights: dict[str, jax.Array], corrupted: jax.Array, inputs: jax.Array
    ) -> jax.Array:
        """The mean loss of the examples, restored from the corrupted ones."""
        hidden = self.activation(corrupted @ weights["kernel"] + weights["bias"][None])
        decoder = weights["kernel"].T if self.tied else weights["decoder"]
        a = hidden @ decoder + weights["visible_bias"][None]
        # The cross-entropy in its stable form: -x log σ(a) - (1 - x) log(1 - σ(a)).
        losses = jax.nn.softplus(a) - inputs * a if self.binary else (inputs - a) ** 2
        return jnp.mean(jnp.sum(losses, axis=1))
