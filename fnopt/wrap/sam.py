"""SAM: sharpness-aware minimization."""

from __future__ import annotations

import inspect
from typing import Any

import jax
import jax.numpy as jnp
import optax
import optax.contrib

from fnopt.core import Inner, Static, Wrapper, evaluation_of, required
from fnopt.core.plan import LeafPlan
from fnopt.core.transform import any_evaluates
from fnopt.core.types import OptState, Params, PyTree, Updates


class sam(Wrapper):
    r"""SAM: a step by the gradient met where an ascent from here leads.

    .. math:: \hat\theta = \theta_{t-1} + \rho\,g(\theta_{t-1}) / \lVert g(\theta_{t-1}) \rVert,
        \qquad \Delta\theta_t = \text{optimizer}(g(\hat\theta))

    where the ascent is ``adv_optimizer``'s step with its sign turned, here
    ``chain(normalize(), sgd(rho))``, as often as ``sync_period`` says.

    Transparent, one update in ``sync_period`` is a step of ``optimizer`` and the others, before
    it, ascend: the parameters are where the next gradient is to be taken. Opaque, every update is
    a whole step, for which it takes the further gradients itself: it needs ``grad_fn``, called with
    the parameters, or with parameters and number of the ascent if it cannot do without (optax's
    way); or ``value_fn``, which it differentiates.

    Args:
        optimizer: the optimizer of the parameters.
        adv_optimizer: the optimizer of the ascent. Where it does not freeze a leaf itself, the
            leaf's gradient takes part in the ascent, also where ``optimizer`` freezes it.
        sync_period: the number of gradients for one step, at least 1.
        reset_state: whether the state of the ascent is initialized again after every step.
        opaque_mode: whether one update is one step.
        batch_axis_name: the mapped axis over which the further gradients are averaged.

    Raises:
        TypeError: an argument is no transform.
        ValueError: ``sync_period`` is below 1, or an opaque update received neither function.

    When:
        Flat minima are worth two gradients a step. Opaque wherever an update has other effects,
        on batch statistics or counts of steps.

    References:
        Foret, Kleiner, Mobahi & Neyshabur, *Sharpness-aware minimization for efficiently improving
        generalization*, ICLR 2021, arXiv:2010.01412, Algorithm 1.

    >>> import fnopt
    >>> ascent = fnopt.chain(fnopt.normalize(), fnopt.sgd(0.05))
    >>> tx = fnopt.sam(fnopt.adam(1e-3), ascent, opaque_mode=True)
    """

    optimizer: Inner
    adv_optimizer: Inner
    sync_period: Static[int] = 2
    reset_state: Static[bool] = True
    opaque_mode: Static[bool] = False
    batch_axis_name: Static[str | None] = None

    State = optax.contrib.SAMState
    inner_state = "opt_state"

    def __post_init__(self) -> None:
        super().__post_init__()
        if not isinstance(self.sync_period, int) or self.sync_period < 1:
            raise ValueError(
                f"sam: sync_period must be an integer, 1 or above, got {self.sync_period!r}"
            )

    def plan(self, params: Params) -> PyTree:
        # Opaque, the further gradients of a leaf are those at a point that all leaves have reached.
        apart = not self.opaque_mode

        def both(step: LeafPlan, ascent: LeafPlan) -> LeafPlan:
            return LeafPlan(
                frozen=step.frozen and ascent.frozen,
                leafwise=step.leafwise and ascent.leafwise and apart,
                elementwise=step.elementwise and ascent.elementwise,
                keeps_zero=step.keeps_zero and ascent.keeps_zero and apart,
                label=(step.label, ascent.label),
            )

        return jax.tree.map(both, self.optimizer.plan(params), self.adv_optimizer.plan(params))

    def init(self, params: Params) -> OptState:
        return self.State(
            steps_since_sync=jnp.zeros((), jnp.int32),
            opt_state=self.optimizer.init(params),
            adv_state=self.adv_optimizer.init(params),
            cache=None if self.opaque_mode else jax.tree.map(jnp.array, params),
        )

    def update(
        self, updates: Updates, state: OptState, params: Params = None, **extra_args: Any
    ) -> tuple[Updates, OptState]:
        self.check(state)
        if params is None:
            raise ValueError("sam needs the parameters: call update(updates, state, params)")
        return (self._whole if self.opaque_mode else self._one)(updates, state, params, extra_args)

    @property
    def evaluates(self) -> bool | None:
        return self.opaque_mode or any_evaluates((self.optimizer, self.adv_optimizer))

    def eval_params(self, state: OptState, params: Params) -> Params:
        """Those of the optimizer; between the ascents of a transparent step, those before them."""
        if not self.opaque_mode:
            params = optax.tree.where(state.steps_since_sync == 0, params, state.cache)
        return super().eval_params(state, params)

    def _ascend(
        self, grads: Any, state: OptState, params: Params, extra_args: Any
    ) -> tuple[Any, Any]:
        updates, state = self.adv_optimizer.update(grads, state, params, **extra_args)
        return jax.tree.map(jnp.negative, updates), state

    def _one(self, grads: Any, state: OptState, params: Params, extra_args: Any) -> tuple[Any, Any]:
        """One ascent, or one step."""
        last = state.steps_since_sync == self.sync_period - 1
        where = optax.tree.where
        cache = where(state.steps_since_sync == 0, params, state.cache)
        ascent, adv_state = self._ascend(grads, state.adv_state, params, extra_args)
        step, opt_state = self.optimizer.update(grads, state.opt_state, cache, **extra_args)
        step = jax.tree.map(lambda c, p, u: (c - p + u).astype(u.dtype), cache, params, step)
        reset = self.adv_optimizer.init(params) if self.reset_state else state.adv_state
        return where(last, step, ascent), self.State(
            steps_since_sync=(state.steps_since_sync + 1) % self.sync_period,
            opt_state=where(last, opt_state, state.opt_state),
            adv_state=where(last, reset, adv_state),
            cache=cache,
        )

    def _whole(
        self, grads: Any, state: OptState, params: Params, extra_args: Any
    ) -> tuple[Any, Any]:
        """All ascents and the step."""
        grad_fn = required(self, "grad_fn", evaluation_of(extra_args).grad)
        ascended, adv_state = params, state.adv_state
        for i in range(self.sync_period - 1):
            ascent, adv_state = self._ascend(grads, adv_state, ascended, extra_args)
            ascended = optax.apply_updates(ascended, ascent)
            grads = grad_fn(ascended, i) if _takes_number(grad_fn) else grad_fn(ascended)
            if self.batch_axis_name is not None:
                grads = jax.lax.pmean(grads, self.batch_axis_name)
        step, opt_state = self.optimizer.update(grads, state.opt_state, params, **extra_args)
        return step, state._replace(
            opt_state=opt_state,
            adv_state=self.adv_optimizer.init(params) if self.reset_state else adv_state,
        )


def _takes_number(grad_fn: Any) -> bool:
    """Whether a function cannot be called with the parameters alone."""
    try:
        inspect.signature(grad_fn).bind(None)
    except TypeError:
        return True
    except ValueError:  # it has no signature
        return False
    return False
