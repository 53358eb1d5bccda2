"""One training step: evaluate the batch, update by the optimizer, commit a finite result."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from fnopt.core import Evaluation, global_norm, hyperparameters
from fnopt.core.entry import entry
from fnopt.core.transform import as_transform
from fnopt.core.types import Batch, Metrics, OptState, Params, PyTree, Updates
from fnopt.train.arguments import check_objective, check_state
from fnopt.train.hoist import hoist
from fnopt.train.keys import Keys, step_keys
from fnopt.train.measure import (
    Measured,
    Passes,
    join_frozen,
    measure_batch,
    passes_of,
    trained_leaves,
)
from fnopt.train.objective import Objective
from fnopt.train.options import StepOptions
from fnopt.train.precision import as_optimizers_see, check_params, round_params
from fnopt.train.state import TrainState
from fnopt.wrap.clip import clip_by_global_norm

_DEFAULT = StepOptions()

Update = Callable[[Params, OptState], tuple[Updates, OptState]]
"""The optimizer's update of a step, as a function of what the step writes over."""


class Evaluated(NamedTuple):
    """The results of the first part of a step, before the update.

    Attributes:
        measured: loss, metrics, model state and gradient.
        grad_norm: the norm of the gradient, without that of frozen parameters.
        evaluation: the loss on the batch as functions of the parameters, for the optimizer.
        passes: the forward and backward pass that computes all of this.
    """

    measured: Measured
    grad_norm: jax.Array
    evaluation: Evaluation
    passes: Passes


class Committed(NamedTuple):
    """The result of a step.

    Attributes:
        state: the next train state; if the step was not taken, the old one with ``skipped`` + 1.
        update_norm: the norm of the update; not finite if the step was not taken.
        taken: whether the step was taken, a flag.
    """

    state: TrainState
    update_norm: jax.Array
    taken: jax.Array


_USAGE = "train_step(objective, state, batch)"


@entry(_USAGE)
def train_step(
    objective: Objective,
    state: TrainState,
    batch: Batch,
    options: StepOptions = _DEFAULT,
    attempt: Any = True,
) -> tuple[TrainState, Metrics]:
    """One step, to be compiled by the caller; see :func:`~fnopt.train.make_train_step`.

    Args:
        objective: the objective to minimize.
        state: the state before the step.
        batch: the batch, a tree of arrays with examples along the first axis.
        options: the options of the step.
        attempt: a flag; False leaves the state as it is, as after a step that was not finite.

    Returns:
        The next state and the metrics of the step.
    """
    check_objective(_USAGE, objective)
    check_state(_USAGE, state)
    return attempt_step(objective, state, batch, options, attempt)[:2]


def attempt_step(
    objective: Objective,
    state: TrainState,
    batch: Batch,
    options: StepOptions = _DEFAULT,
    attempt: Any = True,
) -> tuple[TrainState, Metrics, jax.Array]:
    """One step as :func:`train_step`, which also says whether it was taken.

    Returns:
        The next state, the metrics of the step, and a flag, whether the step was taken.
    """
    _check(state, options)
    keys = step_keys(state)
    evaluated = evaluate(objective, state, batch, options, keys)
    extra_args = _extra_args(state, evaluated, keys)
    update = update_of(state, evaluated, options, extra_args)
    committed = commit(state, evaluated, update, options, keys, attempt)
    applied = hyperparameters(state.tx, state.stored.opt_state, **extra_args)
    metrics = {
        "loss": evaluated.measured.loss,
        **{k: jnp.asarray(x).astype(float) for k, x in applied.items() if k == "learning_rate"},
        "grad_norm": evaluated.grad_norm,
        "update_norm": committed.update_norm,
        **evaluated.measured.metrics,
    }
    loss_scale = evaluated.passes.loss_scale
    if loss_scale is not None:
        metrics["skipped"] = committed.state.skipped
        metrics["loss_scale"] = jnp.asarray(loss_scale, jnp.float32)
    return committed.state, metrics, committed.taken


def evaluate(
    objective: Objective, state: TrainState, batch: Batch, options: StepOptions, keys: Keys
) -> Evaluated:
    """The first part of a step: loss, metrics and gradient at the state's parameters.

    Args:
        objective: the objective to minimize.
        state: the state before the step.
        batch: the batch.
        options: the options of the step.
        keys: the keys of the step.
    """
    passes = passes_of(objective, state, options)
    stored = state.stored
    measure, evaluation = measure_batch(passes, stored.model_state, batch, keys.forward)
    measured = measure(stored.params)
    grad_norm = global_norm(trained_leaves(measured.grads, passes.frozen))  # the others' are 0
    return Evaluated(measured, grad_norm, evaluation, passes)


def update_of(
    state: TrainState, evaluated: Evaluated, options: StepOptions, extra_args: dict[str, Any]
) -> Update:
    """The second part of a step: the optimizer's update.

    Args:
        state: the state before the step.
        evaluated: the first part.
        options: the options of the step.
        extra_args: the extra arguments of the optimizer's update.

    Returns:
        A function of parameters and optimizer state, to be called in a branch. What the optimizer
        evaluates besides the gradient is computed here, before the branch: see :func:`hoist`.
    """
    frozen = evaluated.passes.frozen

    def update(grads: Updates, params: Params, opt_state: OptState) -> tuple[Updates, OptState]:
        if options.clip_norm is not None:
            clip = clip_by_global_norm(options.clip_norm)
            clipped, _ = clip.update(trained_leaves(grads, frozen), optax.EmptyState())
            grads = join_frozen(clipped, grads, frozen, lambda zeros: zeros)
        return state.tx.update(
            grads, opt_state, as_optimizers_see(params, options.precision), **extra_args
        )

    if as_transform(state.tx).evaluates is not False:
        stored = state.stored
        update = hoist(update, evaluated.measured.grads, stored.params, stored.opt_state)
    return functools.partial(update, evaluated.measured.grads)


def commit(
    state: TrainState,
    evaluated: Evaluated,
    update: Update,
    options: StepOptions,
    keys: Keys,
    attempt: Any,
) -> Committed:
    """The third part of a step: the next state, if loss, gradient and update are finite.

    Args:
        state: the state before the step.
        evaluated: the first part.
        update: the second part.
        options: the options of the step.
        keys: the keys of the step.
        attempt: a flag; False takes no step.
    """
    measured, frozen, stored = evaluated.measured, evaluated.passes.frozen, state.stored
    finite = jnp.isfinite(measured.loss) & jnp.isfinite(evaluated.grad_norm)
    # True, but XLA cannot prove it: a constant would take the branch away, and its order with it.
    always = finite | (state.step >= 0)
    finite, always = finite & attempt, always & attempt

    # A branch for two reasons. What is not finite must not get into the state. And the branch
    # begins when all gradients are there: nothing reads the parameters any more that it writes
    # over, so that XLA need not copy them first.
    def take(params: Params, opt_state: OptState, average_state: PyTree) -> Any:
        updates, opt_state = update(params, opt_state)
        norm = global_norm(trained_leaves(updates, frozen))
        good = jnp.isfinite(norm) if options.skip_nonfinite else jnp.isfinite(norm) | always
        updates = jax.tree.map(lambda u: jnp.where(good, u, jnp.zeros_like(u)), updates)
        params = optax.apply_updates(as_optimizers_see(params, options.precision), updates)
        if options.precision is not None:
            params = round_params(params, options.precision, keys.rounding)
        if state.average is not None:
            # Not computed once more, from the parameters that are written over.
            params = jax.lax.optimization_barrier(params)
            evaluated_params = as_transform(state.tx).eval_params(opt_state, params)
            moved = state.average.update(average_state, evaluated_params, state.step + 1)
            average_state = optax.tree.where(good, moved, average_state)
        return params, opt_state, average_state, norm, good

    def leave(params: Params, opt_state: OptState, average_state: PyTree) -> Any:
        norm = jnp.full_like(evaluated.grad_norm, jnp.inf)
        return params, opt_state, average_state, norm, jnp.bool_(False)

    params, opt_state, average_state, update_norm, taken = jax.lax.cond(
        finite if options.skip_nonfinite else always,
        take, leave, stored.params, stored.opt_state, stored.average_state,
    )  # fmt: skip
    scaling_state = state.scaling_state
    if state.scaling is not None:
        scaled = state.scaling.update(scaling_state, finite)
        scaling_state = optax.tree.where(attempt, scaled, scaling_state)
    state = state.replace(
        params=params,
        model_state=optax.tree.where(taken, measured.model_state, stored.model_state),
        opt_state=opt_state,
        step=state.step + taken.astype(state.step.dtype),
        skipped=state.skipped + (~taken & attempt).astype(state.skipped.dtype),
        average_state=average_state,
        scaling_state=scaling_state,
    )
    return Committed(state, update_norm, taken)


def _extra_args(state: TrainState, evaluated: Evaluated, keys: Keys) -> dict[str, Any]:
    """The extra arguments of the optimizer's update."""
    return {
        "value": evaluated.measured.loss,
        "grad": evaluated.measured.grads,
        **evaluated.evaluation.extra_args(),
        "metric": state.metric,
        "evaluations": state.evaluations,
        "key": keys.update,
    }


def _check(state: TrainState, options: StepOptions) -> None:
    """Refuses a state that was initialized for another precision."""
    precision = options.precision
    dynamic = precision is not None and precision.scaling is not None
    if dynamic != (state.scaling is not None):
        has, wants = ("has no", "scales") if dynamic else ("has", "does not scale")
        raise ValueError(
            f"the state {has} dynamic loss scaling, and the step's precision {wants} the loss so;"
            " give the same precision= to TrainState.create and to the step"
        )
    if precision is not None:
        check_params(state.params, precision)
