"""What the trust-region methods share: a trial step, its acceptance, the state."""

from __future__ import annotations

from typing import Annotated, Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from fnopt.core import (
    Evaluation,
    Outcome,
    Rate,
    Transform,
    computing_dtype,
    evaluation_of,
    global_norm,
    required,
    vdot,
    zeros,
)
from fnopt.core.checks import Interval, float_leaves, refuse_state, updates_and_params
from fnopt.core.fields import Field
from fnopt.core.moments import cast
from fnopt.core.ranges import Bound, Scheduled
from fnopt.core.transform import at_count
from fnopt.core.types import OptState, Params, PyTree, Updates
from fnopt.curvature.trust_region import next_radius, reduction_ratio

Radius = Annotated[Any, Field(Interval("(0, inf]"))]
"""A radius to begin with, above 0; inf for no boundary."""
Threshold = Annotated[Any, Scheduled(Interval("[0, 0.25)"))]
"""A ratio from which on steps are accepted: a number, an array or a schedule."""


class Step(NamedTuple):
    """A trial step.

    Attributes:
        step: a tree like the parameters.
        decrease: the decrease of the loss that its model predicts.
        products: number of products with a matrix of curvature.
        own: what the method itself keeps in the next state; None for nothing.
    """

    step: PyTree
    decrease: jax.Array
    products: Any
    own: Any = None


class TrustRegionState(NamedTuple):
    """The state of a trust-region method.

    Attributes:
        count: number of updates so far.
        trust_radius: radius of the next region.
        ratio: actual over predicted decrease of the last trial step; below 0 if the loss rose,
            -inf if it was not finite.
        value: the loss at the parameters after the update; inf before the first.
        grad: the gradient there.
        values: number of evaluations of the loss in the last update.
        products: number of products with a matrix of curvature in the last update.
        own: what the method itself keeps; None for nothing.
    """

    count: jax.Array
    trust_radius: jax.Array
    ratio: jax.Array
    value: jax.Array
    grad: Updates
    values: jax.Array
    products: jax.Array
    own: Any


class TrustRegionStep(Transform):
    """Makes a trial step that a subclass finds, or none where the loss does not fall enough."""

    learning_rate: Rate = 1.0
    initial_trust_radius: Radius = 1.0
    max_trust_radius: Bound = None
    eta: Threshold = 0.05

    State = TrustRegionState
    elementwise = alike = True  # of elements in another order the step is that of the same loss
    family = ""

    def step(self, evaluation: Evaluation, params: Params, grads: Updates, state: Any) -> Step:
        """The step within the radius of the state that a model of the loss is lowest at."""
        raise NotImplementedError

    def own(self, real: Any, params: Params) -> Any:
        """What the method itself keeps, before the first update, with numbers of a real dtype."""
        return None

    def own_after(self, own: Any, ratio: jax.Array) -> Any:
        """What it keeps after a step of a ratio."""
        return own

    @property
    def evaluates(self) -> bool | None:
        return True

    def init(self, params: Params) -> Any:
        _, leaves, treedef = float_leaves("params", params)
        real = jnp.finfo(computing_dtype(*(leaf.dtype for leaf in leaves))).dtype
        none = jnp.zeros((), jnp.int32)
        return self.State(
            count=none,
            trust_radius=jnp.asarray(self.initial_trust_radius, real),
            ratio=jnp.ones((), real),
            value=jnp.full((), jnp.inf, real),
            grad=treedef.unflatten(map(zeros, leaves)),
            values=none,
            products=none,
            own=self.own(real, params),
        )

    def count(self, state: OptState) -> jax.Array:
        return state.count

    def outcome(self, state: OptState) -> Outcome:
        values = state.values
        return Outcome(state.value, state.grad, values, jnp.minimum(values, 1), state.products)

    def update(
        self,
        updates: Updates,
        state: OptState,
        params: Params = None,
        *,
        value: Any = None,
        **extra_args: Any,
    ) -> tuple[Any, Any]:
        if getattr(state, "_fields", None) != self.State._fields:
            refuse_state(self, state)
        grads, params = updates_and_params(self, updates, params)
        evaluation = evaluation_of(extra_args)
        value_and_grad = required(self, "value_fn", evaluation.value_and_grad)
        real = state.value.dtype
        rule = at_count(self, state.count, real)
        values = jnp.ones((), jnp.int32)
        if value is None:
            value, values = required(self, "value_fn", evaluation.value)(params), values + 1
        value = cast(jnp.asarray(value), real)

        found = rule.step(evaluation, params, grads, state)
        rate = jnp.asarray(rule.learning_rate, real)
        step = jax.tree.map(lambda p, u: cast(cast(rate, u.dtype) * u, p.dtype), params, found.step)
        new_value, new_grad = value_and_grad(optax.apply_updates(params, step))
        new_value = cast(new_value, real)
        # A rate multiplies the linear part of the model, and its square the quadratic part.
        slope = cast(vdot(grads, found.step), real)
        predicted = rate * (rate * (cast(found.decrease, real) + slope) - slope)
        ratio = reduction_ratio(
            value, new_value, predicted, vdot(grads, step), vdot(new_grad, step)
        )
        length = global_norm(found.step)
        radius = next_radius(state.trust_radius, ratio, length, rule.max_trust_radius)
        accepted = ratio > rule.eta
        state = state._replace(
            count=optax.safe_increment(state.count),
            trust_radius=radius,
            ratio=ratio,
            value=jnp.where(accepted, new_value, value),
            grad=jax.tree.map(
                lambda old, new, grad: cast(
                    jnp.where(accepted, cast(new, grad.dtype), grad), old.dtype
                ),
                state.grad,
                new_grad,
                grads,
            ),
            values=values,
            products=jnp.asarray(found.products, jnp.int32),
            own=rule.own_after(found.own, ratio),
        )
        moves = jax.tree.map(
            lambda u, g: cast(jnp.where(accepted, u, jnp.zeros_like(u)), g.dtype), step, grads
        )
        return moves, state
