"""One training step: forward, loss, gradient, update, and the figures of the four."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax

from fnopt.core import global_norm, hyperparameters
from fnopt.train.objective import Objective
from fnopt.train.state import TrainState


def train_step(
    objective: Objective, state: TrainState, batch: Any
) -> tuple[TrainState, dict[str, jax.Array]]:
    """One step, to be compiled by the caller; see :func:`make_train_step`."""
    key = jax.random.fold_in(state.key, state.step)
    forward_key, update_key = jax.random.fold_in(key, 0), jax.random.fold_in(key, 1)

    def loss_and_rest(params: Any) -> tuple[jax.Array, Any]:
        outputs, model_state = objective.forward(
            params, state.model_state, batch, key=forward_key, train=True
        )
        return objective.loss(outputs, batch), (model_state, objective.metrics(outputs, batch))

    def value_fn(
        params: Any, *, obj_fn=None, grad_fn=None, metric=None, evaluations=None, key=None
    ) -> jax.Array:
        # optax's line searches refuse extra arguments that value_fn does not name.
        return loss_and_rest(params)[0]

    def grad_fn(params: Any) -> Any:
        return _ascent(jax.grad(value_fn)(params))

    (loss, (model_state, figures)), grads = jax.value_and_grad(loss_and_rest, has_aux=True)(
        state.params
    )
    grads = _ascent(grads)
    grad_norm = global_norm(grads)
    extra_args = {
        "value": loss,
        "grad": grads,
        "value_fn": value_fn,
        "obj_fn": value_fn,  # optax's other name for it
        "grad_fn": grad_fn,
        "metric": state.metric,
        "evaluations": state.evaluations,
        "key": update_key,
    }
    applied = hyperparameters(state.tx, state.opt_state, **extra_args)

    # A branch for two reasons. What is not finite must not get into the state. And the branch
    # begins when all gradients are there: nothing reads the parameters any more that it writes
    # over, so that XLA need not copy them first.
    def take(params: Any, opt_state: Any) -> Any:
        updates, opt_state = state.tx.update(grads, opt_state, params, **extra_args)
        norm = global_norm(updates)
        updates = jax.tree.map(
            lambda u: jnp.where(jnp.isfinite(norm), u, jnp.zeros_like(u)), updates
        )
        return optax.apply_updates(params, updates), opt_state, norm

    def leave(params: Any, opt_state: Any) -> Any:
        return params, opt_state, jnp.full_like(grad_norm, jnp.nan)

    params, opt_state, update_norm = jax.lax.cond(
        jnp.isfinite(loss) & jnp.isfinite(grad_norm), take, leave, state.params, state.opt_state
    )
    taken = jnp.isfinite(update_norm)
    metrics = {
        "loss": loss,
        "learning_rate": jnp.asarray(applied.get("learning_rate", jnp.nan)).astype(float),
        "grad_norm": grad_norm,
        "update_norm": update_norm,
        **{name: jnp.mean(figure) for name, figure in figures.items()},
    }
    state = state.replace(
        params=params,
        model_state=optax.tree.where(taken, model_state, state.model_state),
        opt_state=opt_state,
        step=state.step + taken.astype(state.step.dtype),
    )
    return state, metrics


def make_train_step(
    objective: Objective,
) -> Callable[[TrainState, Any], tuple[TrainState, dict[str, jax.Array]]]:
    """The compiled step ``train_step(state, batch) -> (state, metrics)``.

    It takes over the buffers of the state it is given; go on with the one it returns. Metrics are
    the loss before the update, the learning rate applied (NaN if the optimizer does not say), the
    norm of the gradient before any clipping, the norm of the update, and the means of the
    objective's own metrics.

    A step whose loss, gradient or update is not finite is not taken: parameters, model state and
    ``step`` stay, and ``update_norm`` is not finite. The optimizer's state stays too, unless it is
    the optimizer that made a finite gradient into an update that is not.

    Args:
        objective: what is minimized, from :func:`objective`.
    """

    def step(state: TrainState, batch: Any) -> tuple[TrainState, dict[str, jax.Array]]:
        return train_step(objective, state, batch)

    return jax.jit(step, donate_argnums=0)


def _ascent(grads: Any) -> Any:
    # Of a complex parameter jax.grad gives the conjugate of the direction of ascent.
    return jax.tree.map(lambda g: jnp.conj(g) if jnp.iscomplexobj(g) else g, grads)
