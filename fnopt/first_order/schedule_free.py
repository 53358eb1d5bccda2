"""Schedule-free learning: averaging instead of a falling rate."""

from __future__ import annotations

from typing import Annotated, Any

import jax
import jax.numpy as jnp
import optax
import optax.contrib

from fnopt.core import (
    DType,
    Inner,
    NonNegative,
    Rate,
    Wrapper,
    divide,
    real_number,
)
from fnopt.core.checks import Interval, float_leaves, leaves_like
from fnopt.core.fields import Field
from fnopt.core.moments import cast
from fnopt.core.ranges import Scheduled
from fnopt.core.transform import at_count
from fnopt.core.types import OptState, Params, Updates
from fnopt.first_order.between import moved
from fnopt.first_order.schedule_free_eval import averaged_params

Warmup = Annotated[Any, Field(Interval("[0, inf)"))]
"""A number of updates, 0 for none."""
Share = Annotated[Any, Scheduled(Interval("(0, 1]"))]
"""A share in (0, 1], the average being recomputed by dividing by it."""


class schedule_free(Wrapper):
    r"""Schedule-free learning: an optimizer's points :math:`z`, and :math:`x` their average.

    .. math::
        z_t &= z_{t-1} + u_t, \qquad
        x_t = (1 - c_t)\,x_{t-1} + c_t\,z_t, \qquad
        y_t = \beta_1\,x_t + (1 - \beta_1)\,z_t \\
        c_t &= \bar\eta_t^{\,p} \big/ \textstyle\sum_{i \le t} \bar\eta_i^{\,p}, \qquad
        \bar\eta_t = \max_{i \le t} \eta_i

    The parameters are :math:`y`, where gradients are taken; :func:`schedule_free_eval_params` gives
    :math:`x`, which is to be evaluated and saved. Only :math:`z` is stored.

    The largest rate so far is the authors' program's; the paper has :math:`\eta_t` itself. optax
    takes for :math:`\eta_t` the rate of the update after; here, as in the paper, it is that of
    this one. All differ only where the rate is a schedule.

    Args:
        base_optimizer: the optimizer that gives :math:`u`, itself without momentum.
        learning_rate: learning rate of ``base_optimizer``, repeated, :math:`\eta \ge 0`:
            constant after a warm-up.
        b1: weight of the average in the parameters, :math:`\beta_1 \in (0, 1]`.
        weight_lr_power: power of the rate that weighs an update in the average, :math:`p \ge 0`.
        state_dtype: dtype of :math:`z`; the parameter's if None.

    Raises:
        TypeError: an argument is no transform.
        ValueError: an argument is out of its range.

    When:
        The length of the training is open. Batch statistics must be computed again for :math:`x`.

    References:
        Defazio, Yang, Mehta, Mishchenko, Khaled & Cutkosky, *The road less scheduled*, NeurIPS
        2024, arXiv:2405.15682, eqs. 3-5 and Algorithm 1.
    """

    base_optimizer: Inner
    learning_rate: Rate
    b1: Share = 0.9
    weight_lr_power: NonNegative = 2.0
    state_dtype: DType = None

    @property
    def keeps_zero(self) -> bool:
        # In another dtype z may differ from the parameters without any update.
        return self.state_dtype is None

    State = optax.contrib.ScheduleFreeState
    inner_state = "base_optimizer_state"

    def init(self, params: Params) -> OptState:
        _, leaves, treedef = float_leaves("params", params)
        return self.State(
            b1=real_number(at_count(self, jnp.zeros((), jnp.int32)).b1, leaves),
            weight_sum=real_number(0.0, leaves),
            step_count=jnp.ones((), jnp.int32),
            max_lr=real_number(0.0, leaves),
            base_optimizer_state=self.base_optimizer.init(params),
            z=treedef.unflatten([jnp.array(x, self.state_dtype) for x in leaves]),
        )

    def count(self, state: OptState) -> jax.Array:
        return state.step_count - 1

    def eval_params(self, state: OptState, params: Params) -> Params:
        return averaged_params(state, params)

    def hyperparameters(self, state: OptState, **extra_args: Any) -> dict[str, Any]:
        # The rate repeats that of the inner optimizer and is not a factor of it.
        rate = at_count(self, self.count(state)).learning_rate
        return {**super().hyperparameters(state, **extra_args), "learning_rate": rate}

    def update(
        self, updates: Updates, state: OptState, params: Params = None, **extra_args: Any
    ) -> tuple[Updates, OptState]:
        inner_state = self.check(state)
        if params is None:
            raise ValueError(
                "schedule_free needs the parameters: call update(updates, state, params)"
            )
        _, grads, treedef = float_leaves("updates", updates)
        points = leaves_like(treedef, "params", params, "updates")
        steps, inner_state = self.base_optimizer.update(updates, inner_state, params, **extra_args)
        real = state.max_lr.dtype
        rule = at_count(self, self.count(state), real)
        max_lr = jnp.maximum(state.max_lr, rule.learning_rate)
        weight = max_lr**rule.weight_lr_power
        weight_sum = state.weight_sum + weight
        share = divide(weight, weight_sum)

        with jax.numpy_dtype_promotion("standard"):
            trees = [treedef.flatten_up_to(tree) for tree in (state.z, steps)]
            pairs = [
                moved(y, z, u, share, state.b1, rule.b1)
                for y, z, u in zip(points, *trees, strict=True)
            ]
        moves = [cast(step, grad.dtype) for (step, _), grad in zip(pairs, grads, strict=True)]
        return treedef.unflatten(moves), self.State(
            b1=cast(jnp.asarray(rule.b1), real),
            weight_sum=weight_sum,
            step_count=optax.safe_increment(state.step_count),
            max_lr=max_lr,
            base_optimizer_state=inner_state,
            z=treedef.unflatten([z for _, z in pairs]),
        )
