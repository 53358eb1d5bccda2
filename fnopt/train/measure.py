"""Loss and gradient of a batch: whole or in micro-batches, in a precision, scaled or not."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from fnopt.core import Evaluation, divide
from fnopt.core.evaluation import ascent, evaluation_call
from fnopt.core.transform import as_transform
from fnopt.core.types import Batch, Metrics, ModelState, Outputs, Params, PyTree, Updates
from fnopt.train.accumulate import shares_of, split_batch, stacked, weighted_mean
from fnopt.train.objective import Objective
from fnopt.train.options import StepOptions
from fnopt.train.precision import as_optimizers_see, forward
from fnopt.train.state import TrainState


class Measured(NamedTuple):
    """The loss and the gradient of a batch.

    Attributes:
        loss: the mean loss, a scalar.
        metrics: the means of the objective's own metrics, by name.
        model_state: the model state after the batch.
        grads: the gradient for the optimizer, a tree like the parameters; 0 for frozen ones.
    """

    loss: jax.Array
    metrics: Metrics
    model_state: ModelState
    grads: Updates


class ForwardPass(NamedTuple):
    """The results of a forward pass of a batch or a micro-batch.

    Attributes:
        loss: the mean loss, a scalar.
        metrics: the means of the objective's own metrics, by name.
        outputs: the outputs of the model.
        model_state: the model state after it.
    """

    loss: jax.Array
    metrics: Metrics
    outputs: Outputs
    model_state: ModelState


@dataclasses.dataclass(frozen=True)
class Passes:
    """The forward and backward pass that a step makes, of a batch or of a micro-batch.

    Attributes:
        objective: the objective to minimize.
        options: the options of the step.
        loss_scale: factor of the loss in the backward pass; None for 1.
        frozen: a tree of flags like the parameters, True where the gradient is not computed; None
            if nothing is frozen.
        train: whether the model computes as in training; if not, as in evaluation.
    """

    objective: Objective
    options: StepOptions
    loss_scale: Any = None
    frozen: PyTree = None
    train: bool = True

    def outputs(
        self, params: Params, model_state: ModelState, batch: Batch, key: jax.Array
    ) -> tuple[Outputs, ModelState]:
        """The outputs of the model, and the next model state."""
        return forward(
            self.objective, self.options.precision, params, model_state, batch,
            key=key if self.train else None, train=self.train,
        )  # fmt: skip

    def forward(
        self, params: Params, model_state: ModelState, batch: Batch, key: jax.Array
    ) -> ForwardPass:
        """Loss, metrics, outputs and the next model state."""
        outputs, model_state = self.outputs(params, model_state, batch, key)
        loss = self.objective.loss(outputs, batch)
        metrics = self.objective.metrics(outputs, batch)
        metrics = {name: self.objective.mean(x, batch) for name, x in metrics.items()}
        return ForwardPass(loss, metrics, outputs, model_state)

    def backward(
        self, params: Params, model_state: ModelState, batch: Batch, key: jax.Array
    ) -> tuple[ForwardPass, list[jax.Array]]:
        """The forward pass, and the gradients of the trained leaves, for :meth:`finish`."""

        def scaled_loss(leaves: list[jax.Array]) -> tuple[jax.Array, ForwardPass]:
            whole = join_frozen(leaves, params, self.frozen, lambda leaf: leaf)
            result = self.forward(whole, model_state, batch, key)
            if self.loss_scale is None:
                return result.loss, result
            return result.loss * jnp.asarray(self.loss_scale, result.loss.dtype), result

        grads, result = jax.grad(scaled_loss, has_aux=True)(trained_leaves(params, self.frozen))
        return result, grads

    def finish(self, leaves: list[jax.Array], params: Params) -> Updates:
        """The gradient for the optimizer: of all parameters, wide, without the loss scale."""
        grads = join_frozen(leaves, params, self.frozen, jnp.zeros_like)
        grads = as_optimizers_see(grads, self.options.precision)
        if self.loss_scale is not None:
            grads = jax.tree.map(lambda g: g / jnp.asarray(self.loss_scale, g.real.dtype), grads)
        return ascent(grads)


def passes_of(objective: Objective, state: TrainState, options: StepOptions) -> Passes:
    """The forward and backward pass of the step that starts from a state."""
    loss_scale = None
    if options.precision is not None:
        scaling = options.precision.scaling
        loss_scale = options.precision.loss_scale if scaling is None else state.scaling_state.scale
    params = as_optimizers_see(state.stored.params, options.precision)
    return Passes(objective, options, loss_scale, as_transform(state.tx).frozen(params))


def measure_batch(
    passes: Passes, model_state: ModelState, batch: Batch, key: jax.Array
) -> tuple[Callable[[Params], Measured], Evaluation]:
    """Loss and gradient of a batch, as functions of the parameters.

    Both use micro-batches if the options say so.

    Args:
        passes: the forward and backward pass.
        model_state: the model state before the batch.
        batch: the batch, a tree of arrays with examples along the first axis.
        key: the key of dropout.

    Returns:
        A function that gives all that the step needs, and the evaluation for the optimizer.
    """
    measure, value, outputs, loss_of_outputs, losses_of_outputs = (
        _whole(passes, model_state, batch, key)
        if passes.options.accumulate == 1
        else _in_micro_batches(passes, model_state, batch, key)
    )

    def value_and_grad(params: Params) -> tuple[jax.Array, Updates]:
        measured = measure(params)
        return measured.loss, measured.grads

    called = evaluation_call(value_and_grad)
    return measure, Evaluation(
        value=evaluation_call(value),
        grad=lambda params: called(params)[1],
        value_and_grad=called,
        outputs=evaluation_call(outputs),
        loss_of_outputs=loss_of_outputs,
        losses_of_outputs=losses_of_outputs,
    )


def _whole(passes: Passes, model_state: ModelState, batch: Batch, key: jax.Array) -> Any:
    """Functions of the parameters that take a batch in one pass."""

    def measure(params: Params) -> Measured:
        result, leaves = passes.backward(params, model_state, batch, key)
        grads = passes.finish(leaves, params)
        return Measured(result.loss, result.metrics, result.model_state, grads)

    def value(params: Params) -> jax.Array:
        return passes.forward(params, model_state, batch, key).loss

    def outputs(params: Params) -> Outputs:
        return passes.outputs(params, model_state, batch, key)[0]

    def loss_of_outputs(outputs: Outputs) -> jax.Array:
        return passes.objective.loss(outputs, batch)

    def losses_of_outputs(outputs: Outputs) -> tuple[jax.Array, jax.Array]:
        return _losses_and_shares(passes.objective, outputs, batch)

    return measure, value, outputs, loss_of_outputs, losses_of_outputs


def _in_micro_batches(passes: Passes, model_state: ModelState, batch: Batch, key: jax.Array) -> Any:
    """Functions of the parameters that take a batch in several passes, one after the other."""
    objective, options = passes.objective, passes.options
    batches = split_batch(batch, options.accumulate)
    shares = shares_of(objective.example_weights(batch), options.accumulate)

    def measure(params: Params) -> Measured:
        def of_part(model_state: ModelState, batch: Batch, key: jax.Array) -> Any:
            result, grads = passes.backward(params, model_state, batch, key)
            return (result.loss, result.metrics), grads, result.model_state

        (loss, metrics), grads, after = weighted_mean(
            of_part, model_state, batches, shares, key, options.accumulator
        )
        if options.precision is None:
            leaves = trained_leaves(params, passes.frozen)
            grads = [g.astype(p.dtype) for g, p in zip(grads, leaves, strict=True)]
        return Measured(loss, metrics, after, passes.finish(grads, params))

    def value(params: Params) -> jax.Array:
        # Whoever takes the gradient of it computes every micro-batch again: none is stored.
        @jax.checkpoint
        def of_part(model_state: ModelState, batch: Batch, key: jax.Array) -> Any:
            result = passes.forward(params, model_state, batch, key)
            return result.loss, (), result.model_state

        return weighted_mean(of_part, model_state, batches, shares, key)[0]

    def outputs(params: Params) -> Outputs:
        def of_part(model_state: ModelState, batch: Batch, key: jax.Array) -> Any:
            return passes.outputs(params, model_state, batch, key)

        return stacked(of_part, model_state, batches, key)

    def loss_of_outputs(outputs: Outputs) -> jax.Array:
        losses = jax.vmap(objective.loss)(outputs, batches)
        weighted = jnp.where(shares > 0, shares.astype(losses.dtype) * losses, 0)
        return jnp.sum(weighted)

    def losses_of_outputs(outputs: Outputs) -> tuple[jax.Array, jax.Array]:
        losses_and_shares = functools.partial(_losses_and_shares, objective)
        losses, within = jax.vmap(losses_and_shares)(outputs, batches)
        return losses, within * shares.astype(within.dtype)[:, None]

    return measure, value, outputs, loss_of_outputs, losses_of_outputs


def _losses_and_shares(
    objective: Objective, outputs: Outputs, batch: Batch
) -> tuple[jax.Array, jax.Array]:
    """The loss of each example and its share in the mean; the sum of the products is the loss."""
    losses = objective.losses(outputs, batch)
    if losses.ndim == 0:
        raise ValueError(
            "objective: this optimizer needs the loss of each example, but the loss is one number"
            " for a whole batch; return the losses without their mean"
        )
    weights = objective.example_weights(batch)
    if weights is None:
        return losses, jnp.full_like(losses, 1 / losses.size)
    weights = weights.astype(losses.dtype)
    # Where the weight is 0 the loss may be NaN, and does not matter.
    shares = divide(weights, jnp.sum(weights))
    return jnp.where(shares == 0, jnp.zeros_like(losses), losses), shares


def trained_leaves(tree: PyTree, frozen: PyTree) -> list[Any]:
    """The leaves of a tree like the parameters that are not frozen.

    Args:
        tree: the parameters, gradients or updates.
        frozen: a tree of flags like it; None where nothing is frozen.
    """
    leaves = jax.tree.leaves(tree)
    flags = [False] * len(leaves) if frozen is None else jax.tree.leaves(frozen)
    return [leaf for leaf, flag in zip(leaves, flags, strict=True) if not flag]


def join_frozen(
    leaves: list[Any], tree: PyTree, frozen: PyTree, frozen_leaf: Callable[[Any], Any]
) -> PyTree:
    """A tree like another, with other leaves where it is not frozen.

    Args:
        leaves: new leaves for those that :func:`trained_leaves` gives, in their order.
        tree: the other tree.
        frozen: a tree of flags like it; None where nothing is frozen.
        frozen_leaf: a function of a frozen leaf of the other tree that returns its replacement.
    """
    all_leaves, treedef = jax.tree.flatten(tree)
    flags = [False] * len(all_leaves) if frozen is None else jax.tree.leaves(frozen)
    new = iter(leaves)
    return treedef.unflatten(
        frozen_leaf(leaf) if flag else next(new)
        for leaf, flag in zip(all_leaves, flags, strict=True)
    )
