"""One training step: forward, loss, gradient, update, and the figures of the four."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from fnopt.core import global_norm, hyperparameters
from fnopt.core.transform import as_transform
from fnopt.train.keys import keys_of
from fnopt.train.measure import filled, measures, trained
from fnopt.train.objective import Objective
from fnopt.train.options import StepOptions
from fnopt.train.precision import check_kept, kept, widened
from fnopt.train.state import TrainState
from fnopt.wrap.clip import clip_by_global_norm

_DEFAULT = StepOptions()


def train_step(
    objective: Objective,
    state: TrainState,
    batch: Any,
    options: StepOptions = _DEFAULT,
    attempt: Any = True,
) -> tuple[TrainState, dict[str, jax.Array], jax.Array]:
    """One step, to be compiled by the caller; see :func:`make_train_step`.

    Args:
        objective: what is minimized.
        state: before it.
        batch: of examples.
        options: of the step.
        attempt: False leaves the state as it is, as after a step that was not finite.
    """
    precision = options.precision
    _check(state, options)
    keys = keys_of(state)
    loss_scale = loss_scale_of(state, options)
    seen = state.params if precision is None else widened(state.params)  # as by its update
    frozen = as_transform(state.tx).frozen(seen)
    value, measured = measures(
        objective, state.model_state, batch, options, keys.forward, loss_scale, frozen
    )

    def value_fn(
        params: Any, *, obj_fn=None, grad_fn=None, metric=None, evaluations=None, key=None
    ) -> jax.Array:
        # optax's line searches refuse extra arguments that value_fn does not name.
        return value(params)

    def grad_fn(params: Any) -> Any:
        return measured(params)[1]

    (loss, figures, model_state), grads = measured(state.params)
    grad_norm = global_norm(trained(grads, frozen))  # the others' are 0
    extra_args = {
        "value": loss,
        "grad": grads,
        "value_fn": value_fn,
        "obj_fn": value_fn,  # optax's other name for it
        "grad_fn": grad_fn,
        "metric": state.metric,
        "evaluations": state.evaluations,
        "key": keys.update,
    }
    applied = hyperparameters(state.tx, state.opt_state, **extra_args)

    finite = jnp.isfinite(loss) & jnp.isfinite(grad_norm)
    always = finite | (state.step >= 0)  # which is true; the compiler does not know
    finite, always = finite & attempt, always & attempt

    # A branch for two reasons. What is not finite must not get into the state. And the branch
    # begins when all gradients are there: nothing reads the parameters any more that it writes
    # over, so that XLA need not copy them first.
    def take(params: Any, opt_state: Any, average_state: Any) -> Any:
        given = grads
        if options.clip_norm is not None:
            clip = clip_by_global_norm(options.clip_norm)
            clipped, _ = clip.update(trained(grads, frozen), optax.EmptyState())
            given = filled(clipped, grads, frozen, lambda zeros: zeros)
        wide = params if precision is None else widened(params)
        updates, opt_state = state.tx.update(given, opt_state, wide, **extra_args)
        norm = global_norm(trained(updates, frozen))
        good = jnp.isfinite(norm) if options.skip_nonfinite else jnp.isfinite(norm) | always
        updates = jax.tree.map(lambda u: jnp.where(good, u, jnp.zeros_like(u)), updates)
        params = optax.apply_updates(wide, updates)
        if precision is not None:
            params = kept(params, precision, keys.rounding)
        if state.average is not None:
            # Not computed once more, from the parameters that are written over.
            params = jax.lax.optimization_barrier(params)
            moved = state.average.update(average_state, params, state.step + 1)
            average_state = optax.tree.where(good, moved, average_state)
        return params, opt_state, average_state, norm

    def leave(params: Any, opt_state: Any, average_state: Any) -> Any:
        return params, opt_state, average_state, jnp.full_like(grad_norm, jnp.inf)

    params, opt_state, average_state, update_norm = jax.lax.cond(
        finite if options.skip_nonfinite else always,
        take, leave, state.params, state.opt_state, state.average_state,
    )  # fmt: skip
    taken = jnp.isfinite(update_norm) if options.skip_nonfinite else always
    rate = {k: jnp.asarray(x).astype(float) for k, x in applied.items() if k == "learning_rate"}
    metrics = {
        "loss": loss,
        **rate,
        "grad_norm": grad_norm,
        "update_norm": update_norm,
        **figures,
    }
    skipped = state.skipped + (~taken & attempt).astype(state.skipped.dtype)
    if loss_scale is not None:
        metrics |= {"skipped": skipped, "loss_scale": jnp.asarray(loss_scale, jnp.float32)}
    if state.scaling is not None:
        scaled = state.scaling.update(state.scaling_state, finite)
        state = state.replace(scaling_state=optax.tree.where(attempt, scaled, state.scaling_state))
    state = state.replace(
        params=params,
        model_state=optax.tree.where(taken, model_state, state.model_state),
        opt_state=opt_state,
        step=state.step + taken.astype(state.step.dtype),
        skipped=skipped,
        average_state=average_state,
    )
    return state, metrics, taken


def make_train_step(
    objective: Objective, **options: Any
) -> Callable[[TrainState, Any], tuple[TrainState, dict[str, jax.Array]]]:
    """The compiled step ``train_step(state, batch) -> (state, metrics)``.

    It takes over the buffers of the state it is given; go on with the one it returns. NumPy's
    arrays of the batch are copied, and may be filled again at once. Metrics are
    the loss before the update, the learning rate applied (if the optimizer tells it), the norm of
    the gradient before any clipping (of frozen parameters none is computed), the norm of the
    update, and the means of the objective's own metrics. With loss scaling there are also the
    ``loss_scale`` of this step and ``skipped``, the number of steps left out so far.

    A step whose loss, gradient or update is not finite is not taken: parameters, their average,
    model state and ``step`` stay, ``update_norm`` is not finite, and ``state.skipped`` counts it.
    The optimizer's state stays too, unless it is the optimizer that made a finite gradient into
    an update that is not.

    Args:
        objective: what is minimized, from :func:`objective`.
        **options: those of :class:`StepOptions`.
    """
    chosen = StepOptions(**options)

    @functools.partial(jax.jit, donate_argnums=0)
    def compiled(state: TrainState, batch: Any) -> tuple[TrainState, dict[str, jax.Array]]:
        state, metrics, _ = train_step(objective, state, batch, chosen)
        return state, metrics

    def step(state: TrainState, batch: Any) -> tuple[TrainState, dict[str, jax.Array]]:
        # Copies: a loader may fill the same memory again, while the step still reads from it.
        owned = jax.tree.map(lambda x: np.array(x) if isinstance(x, np.ndarray) else x, batch)
        return compiled(state, owned)

    vars(step).update({name: getattr(compiled, name) for name in ("lower", "_cache_size")})
    return step


def loss_scale_of(state: TrainState, options: StepOptions) -> Any:
    """What the loss is multiplied by for the backward pass; None where it is not."""
    if options.precision is None:
        return None
    if options.precision.scaling is not None:
        return state.scaling_state.scale
    return options.precision.loss_scale


def _check(state: TrainState, options: StepOptions) -> None:
    """Refuses a state that was made for another precision."""
    precision = options.precision
    dynamic = precision is not None and precision.scaling is not None
    if dynamic != (state.scaling is not None):
        has, wants = ("has no", "scales") if dynamic else ("has", "does not scale")
        raise ValueError(
            f"the state {has} dynamic loss scaling, and the step's precision {wants} the loss so;"
            " give the same precision= to TrainState.create and to the step"
        )
    if precision is not None:
        check_kept(state.params, precision)
