"""Layer-wise pretraining: each dense layer learns to model the outputs of the one before it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from fnopt.core import computing_dtype
from fnopt.core.checks import positive_integer
from fnopt.core.parts import scale_by_learning_rate
from fnopt.core.prng import typed_key
from fnopt.core.select import Pattern
from fnopt.core.transform import as_transform
from fnopt.core.types import Params
from fnopt.pretrained.autoencoder import denoising_autoencoder
from fnopt.pretrained.dense_stack import dense_stack
from fnopt.pretrained.layer_training import check_finite, encode, train_layer
from fnopt.pretrained.layerwise_arguments import (
    Activation,
    activation_of,
    as_inputs,
    is_binary,
)
from fnopt.pretrained.rbm import as_in_the_guide, restricted_boltzmann_machine


class Pretrained(NamedTuple):
    """The result of layer-wise pretraining.

    Attributes:
        params: a tree like the parameters before.
        errors: reconstruction error of each epoch, by the path of the trained kernel, in the order
            of the layers: its mean over the batches of the epoch, while the layer learns.
    """

    params: Params
    errors: dict[str, jax.Array]


def pretrain_layerwise(
    params: Params,
    data: Any,
    *,
    method: str = "denoising",
    layers: Pattern | None = None,
    activation: str | Activation = "sigmoid",
    visible: str | None = None,
    optimizer: optax.GradientTransformation | None = None,
    epochs: int = 20,
    batch_size: int = 32,
    corruption: Any = 0.25,
    tied: bool = True,
    k: int = 1,
    sample_visible: bool = False,
    key: Any = 0,
    on_layer: Callable[[str, jax.Array], Any] | None = None,
) -> Pretrained:
    r"""Trains the dense layers of a network one after the other to model their own inputs.

    .. math:: x^{(0)} = x, \qquad x^{(l)} = s\bigl(x^{(l-1)} W_l + c_l\bigr)

    Layer :math:`l` becomes a denoising autoencoder or a restricted Boltzmann machine on
    :math:`x^{(l-1)}`, which starts from the layer's own kernel and bias and is trained by itself;
    the layers before it do not change. What it needs besides them (a decoder, biases of the inputs)
    is discarded. Fine-tune the result with labels: kernels and biases of these layers are new,
    all other leaves, those of the head too, are unchanged.

    The layers must follow one another with nothing but ``activation`` between: batch normalization,
    dropout, skips and convolutions are not seen, and a network that has them gets weights learnt
    from inputs that it will not have.

    The training of a layer is one compiled program, the same for layers of one shape. It works
    under ``jit`` and ``vmap``, over keys, parameters, ``corruption`` or optimizers. For traced data
    ``visible`` must not be None, since their range is not known.

    Args:
        params: a tree of parameters, of Flax NNX or Linen or any other, in which a dense layer is a
            kernel (in, out) with a bias (out,) next to it.
        data: inputs without labels, floating-point, with examples along the first axis; further
            axes are flattened.
        method: ``"denoising"`` (``denoising_autoencoder``) or ``"rbm"``
            (``restricted_boltzmann_machine``).
        layers: patterns of the kernels' paths, as in ``groups``, in the order of the layers; if
            None all kernels in the order of their paths except the last, the head.
        activation: :math:`s`, a function or a name of jax.nn; with ``"rbm"`` the sigmoid only.
            Another function is another program, so give the same one each time.
        visible: the distribution of the data: ``"binary"``, in [0, 1], or ``"gaussian"``, any; if
            None it is binary where all data lie in [0, 1]. Inputs behind a sigmoid are binary,
            behind any other activation Gaussian.
        optimizer: a transform of fnopt or optax, which is initialized for each layer and receives
            the error as ``value``. If None gradient descent at a rate of 0.1, for ``"rbm"`` with
            momentum and weight decay as in Hinton's guide. The loss is a sum over inputs, so rates
            are smaller than for a mean.
        epochs: passes through the data for each layer, at least 1.
        batch_size: examples of a step, at least 1; the data are shuffled for each epoch, and the
            examples that do not fill a batch are left out of it.
        corruption: the share in [0, 1) of inputs that the denoising autoencoder does not see.
        tied: whether the decoder of the denoising autoencoder is its kernel transposed.
        k: steps of contrastive divergence, at least 1.
        sample_visible: whether contrastive divergence draws visible units; otherwise it uses their
            probabilities.
        key: a PRNG key, or an integer to make one.
        on_layer: a function that is called after each layer with the path of its kernel and its
            errors; none if None.

    Returns:
        The parameters and the errors, as :class:`Pretrained`.

    Raises:
        TypeError: ``data`` or a kernel are not floating, ``optimizer`` is no transform, a number of
            epochs, examples or steps is no integer.
        ValueError: an argument is out of its range; ``layers`` match nothing, do not follow one
            another, or have no bias. The message has the path.
        FloatingPointError: the error of a layer is not finite.

    References:
        Bengio, Lamblin, Popovici & Larochelle, *Greedy layer-wise training of deep networks*, NIPS
        2006; Vincent et al., ICML 2008, doi:10.1145/1390156.1390294; Hinton, Osindero & Teh, *A
        fast learning algorithm for deep belief nets*, Neural Computation 18(7), 2006,
        doi:10.1162/neco.2006.18.7.1527.

    >>> import jax, jax.numpy as jnp
    >>> from fnopt.pretrained import pretrain_layerwise
    >>> glorot = jax.nn.initializers.glorot_uniform()
    >>> params = {
    ...     name: {"kernel": glorot(jax.random.key(i), shape), "bias": jnp.zeros(shape[1])}
    ...     for i, (name, shape) in enumerate({"dense": (4, 8), "head": (8, 2)}.items())
    ... }
    >>> data = jnp.tile(jnp.array([[1.0, 1, 0, 0], [0, 0, 1, 1]]), (32, 1))
    >>> pretrained, errors = pretrain_layerwise(params, data, epochs=50, corruption=0.1)
    >>> pretrained["head"]["kernel"] is params["head"]["kernel"], errors["dense/kernel"].shape
    (True, (50,))
    >>> bool(errors["dense/kernel"][-1] < errors["dense/kernel"][0] / 2)
    True
    """
    inputs = as_inputs(data)
    examples, width = inputs.shape
    epochs = positive_integer("pretrain_layerwise: epochs", epochs)
    batch_size = positive_integer("pretrain_layerwise: batch_size", batch_size)
    k = positive_integer("pretrain_layerwise: k", k)
    if batch_size > examples:
        raise ValueError(
            f"pretrain_layerwise: batch_size must lie in [1, {examples}], the number of examples;"
            f" got {batch_size}"
        )
    activation = activation_of(activation, method)
    binary = is_binary(visible, inputs)
    if optimizer is None and method == "rbm":
        optimizer = as_in_the_guide(examples // batch_size)
    optimizer = as_transform(scale_by_learning_rate(0.1) if optimizer is None else optimizer)
    key = typed_key(key)

    leaves, structure = jax.tree.flatten(params)
    errors = {}
    for number, layer in enumerate(dense_stack(params, layers, width)):
        if method == "rbm":
            model: Any = restricted_boltzmann_machine(k, binary, sample_visible)
        else:
            model = denoising_autoencoder(corruption, activation, binary, tied)
        kernel, bias = jnp.asarray(leaves[layer.kernel]), jnp.asarray(leaves[layer.bias])
        wide = computing_dtype(kernel.dtype)
        inputs = inputs.astype(wide)
        weights, error = train_layer(
            model,
            optimizer,
            kernel.astype(wide),
            bias.astype(wide),
            inputs,
            jax.random.fold_in(key, number),
            epochs=epochs,
            batch_size=batch_size,
        )
        check_finite(layer.path, error)
        leaves[layer.kernel] = weights["kernel"].astype(kernel.dtype)
        leaves[layer.bias] = weights["bias"].astype(bias.dtype)
        inputs = encode(activation, weights["kernel"], weights["bias"], inputs)
        binary = activation is jax.nn.sigmoid
        errors[layer.path] = error
        if on_layer is not None:
            on_layer(layer.path, error)
    return Pretrained(structure.unflatten(leaves), errors)
