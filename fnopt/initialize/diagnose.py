"""The diagnosis of a start, before anything is trained."""

from __future__ import annotations

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from fnopt.core import divide, evaluation_of, global_norm
from fnopt.core.checks import float_leaves
from fnopt.core.entry import entry
from fnopt.core.prng import typed_key
from fnopt.core.types import Batch, ModelState, Params, Updates
from fnopt.initialize.diagnosis import Diagnosis, LayerMetrics
from fnopt.initialize.faults import distinct, find
from fnopt.initialize.layer_metrics import measure
from fnopt.layers import UNSEEN, Layer, Layers
from fnopt.layers.objective_functions import first_params, loss_of


@entry("diagnose(objective, params, batch), where params=None takes the objective's own")
def diagnose(
    objective: Any,
    params: Params,
    batch: Batch,
    *,
    model_state: ModelState = None,
    optimizer: Any = None,
    key: Any = 0,
) -> Diagnosis:
    r"""Measures every layer of a model at the start, and names the faults with their cures.

    Layers are read off the computation of the loss (see :class:`fnopt.layers.Layers`), so that
    models of Flax NNX, Linen and Equinox and plain functions are all seen; a layer that is stacked
    for a ``scan`` is measured in each iteration. With :math:`z_l` the pre-activations of layer
    :math:`l`, :math:`a_l` the activations after its nonlinearity, and
    :math:`\delta_l = \partial L / \partial z_l`, the metrics are means and standard deviations of
    the three over all examples, positions and units, and these are faults:

    - *not finite*: some :math:`z_l` or :math:`\delta_l` is not.
    - *zero*: all weights of a hidden layer are 0, and three steps do not tell its units apart.
    - *equal*: units of a hidden layer compute the same for every example (to 1e-4). Three steps
      down the gradient show whether they stay equal for ever. So a last layer of zeros, or the last
      of a residual branch, is no fault: its units part.
    - *dead*: more units are 0 for every example of the batch than the signs of random weights
      explain, a share of :math:`1/2 + 2/\sqrt{\text{units}}`, at most 1.
    - *saturated*: more than half of the activations of a tanh lie beyond ±0.99, of a sigmoid
      within 0.01 of its ends.
    - *exploding*, *vanishing*: the standard deviation of :math:`z_l`, or the norm of
      :math:`\delta_l`, changes by more than a factor of 100 through the hidden layers, by a line
      through the logarithms over the depth, or in one step that lasts. This is reported only where
      units have no faults.
    - *step*: the first step of the optimizer moves weights by more than half their norm.

    The forward pass is that of a training step: batch normalization uses the statistics of the
    batch (its running statistics have seen nothing yet), and dropout uses ``key``. Dropout makes
    equal units differ, which are then said to part.

    Args:
        objective: an objective, as :func:`fnopt.train.objective` makes it, or a function
            ``loss(params, batch)``.
        params: the parameters at the start, a tree of floating-point arrays; None for those with
            which an objective begins, for this ``key``.
        batch: a batch of the training data, of some dozens of examples at least, since dead units
            and variances are those of the batch.
        model_state: the model state, such as batch statistics; if None the objective's initial one.
        optimizer: the optimizer whose first step is measured; if None none is.
        key: a PRNG key, or an integer to make one, for dropout (and for parameters to draw).

    Returns:
        A :class:`Diagnosis`: ``print`` it, ``.plot(path)`` it, and read ``.faults``.

    Raises:
        TypeError: the objective is neither an objective nor a function, or a leaf of the parameters
            is not floating.
        ValueError: the loss is no single number, or multiplies no parameters with data.

    References:
        Glorot & Bengio, *Understanding the difficulty of training deep feedforward neural
        networks*, AISTATS 2010; He, Zhang, Ren & Sun, *Delving deep into rectifiers*, ICCV 2015,
        arXiv:1502.01852; Lu, Shin, Su & Karniadakis, *Dying ReLU and initialization*, 2020,
        arXiv:1903.06733.

    >>> import jax.numpy as jnp, fnopt.initialize
    >>> params = {"hidden": jnp.zeros((3, 4)), "last": jnp.zeros((4, 1))}
    >>> def loss(params, batch):
    ...     outputs = jnp.tanh(batch[0] @ params["hidden"]) @ params["last"]
    ...     return jnp.mean((outputs - batch[1]) ** 2)
    >>> diagnosis = fnopt.initialize.diagnose(loss, params, (jnp.eye(3), jnp.ones((3, 1))))
    >>> [(fault.layer, fault.fault) for fault in diagnosis.faults]
    [('hidden', 'zero')]
    """
    key = typed_key(key)
    _check_params(params)
    if params is None:
        params = first_params("diagnose", objective, batch, key)
    float_leaves("params", params)
    loss, rest = loss_of("diagnose", objective, batch, model_state, key)
    layers = Layers(loss, params, batch, *rest)
    shapes = [layers.program.shapes[i].shape for i in layers.program.outputs if isinstance(i, int)]
    if len(layers.program.outputs) != 1 or shapes not in ([()], []):
        raise ValueError(f"diagnose: the loss must be one number, got arrays of shapes {shapes}")
    if not layers.layers:
        unseen = f"; not seen, since in {UNSEEN}: {', '.join(layers.unseen)}"
        raise ValueError(
            "diagnose: the loss multiplies no parameters with anything that depends on the batch,"
            " or the batch is empty" + unseen * bool(layers.unseen)
        )
    value, grads, metrics = measure(layers, params, batch, *rest)
    moved = [np.full(layer.repetitions, math.nan) for layer in layers.layers]
    if optimizer is not None:
        moved = _first_step(
            optimizer, layers, lambda p: loss(p, batch, *rest), params, value, grads, key
        )
    rows = []
    for use, measured in zip(layers.repetitions, metrics, strict=True):
        layer = layers.layers[use.layer]
        views, means, stds = (measured.pop(name) for name in ("views", "means", "stds"))
        rows.append(
            LayerMetrics(
                **{name: x[0].item() for name, x in measured.items()},
                layer=layers.name(use),
                kind=layer.kind,
                function=layer.function,
                units=views.shape[1],
                depth=use.depth,
                mean=float(means[0][0]),
                std=float(stds[0][0]),
                activation_mean=float(means[0][1]),
                activation_std=float(stds[0][1]),
                gradient_mean=float(means[0][2]),
                gradient_std=float(stds[0][2]),
                hidden=use.hidden,
                gradient_norm_later=measured["gradient_norm"][-1].item(),
                distinct=distinct(views[0]),
                distinct_later=distinct(np.concatenate([views[0], views[-1]], axis=1)),
                update=float(moved[use.layer][layers.row(use)]),
            )
        )
    return Diagnosis(tuple(rows), tuple(find(rows)), float(value), layers.unseen)


def _check_params(params: Any) -> None:
    """Refuses a train state, whose optimizer has numbers of its own, and what has one."""
    for what, name, x in (
        ("a train state", "state", params),
        ("the result of a run", "result.state", getattr(params, "state", None)),
    ):
        if hasattr(x, "opt_state") and hasattr(x, "model_state"):
            raise TypeError(
                f"diagnose: params is {what}; give its parameters, diagnose(objective,"
                f" {name}.params, batch, model_state={name}.model_state)"
            )


def _first_step(
    optimizer: Any, layers: Layers, loss: Any, params: Params, value: Any, grads: Updates, key: Any
) -> list[np.ndarray]:
    """For each layer, and each of its repetitions, the norm of the first update by the weights'."""
    tx = optax.with_extra_args_support(optimizer)

    @jax.jit
    def ratios(params: Params, value: Any, grads: Updates) -> list[jax.Array]:
        updates, _ = tx.update(
            grads, tx.init(params), params,
            value=value, grad=grads, key=key, **evaluation_of({"value_fn": loss}).extra_args(),
        )  # fmt: skip
        moves, leaves = jax.tree.leaves(updates), jax.tree.leaves(params)
        return [_ratio(layer, moves[layer.leaf], leaves[layer.leaf]) for layer in layers.layers]

    return [np.asarray(ratio) for ratio in ratios(params, value, grads)]


def _ratio(layer: Layer, update: jax.Array, leaf: jax.Array) -> jax.Array:
    """The norm of an update by that of the leaf, for each repetition that has a slice of it."""
    axes = layer.stack_axes
    if not axes:
        return jnp.full(layer.repetitions, divide(global_norm(update), global_norm(leaf), jnp.inf))
    update, leaf = (
        jnp.moveaxis(x, axes, range(len(axes))).reshape(layer.repetitions, -1)
        for x in (update, leaf)
    )
    return jax.vmap(lambda u, p: divide(global_norm(u), global_norm(p), jnp.inf))(update, leaf)
