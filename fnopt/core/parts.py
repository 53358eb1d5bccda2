"""The parts that optimizers share: leaving alone, scaling, decaying weights, momentum."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import optax

from fnopt.core.bias import bias_correction
from fnopt.core.context import Context
from fnopt.core.fields import DType, Static
from fnopt.core.moments import divide, moment, zeros
from fnopt.core.norms import relative_change, scaled_norm
from fnopt.core.plan import plan_by
from fnopt.core.ranges import Decay, Fraction, Rate, Scalar
from fnopt.core.rule import Rule
from fnopt.core.schedule import to_dtype
from fnopt.core.select import Mask
from fnopt.core.transform import Transform
from fnopt.core.types import Arrays, LeafUpdate, Numeric, OptState, Params, PyTree, Slots, Updates


class identity(Transform):
    """Leaves the updates as they are."""

    leafwise = elementwise = keeps_zero = alike = True

    def init(self, params: Params) -> OptState:
        return optax.EmptyState()

    def update(
        self, updates: Updates, state: OptState, params: Params = None, **extra_args: Any
    ) -> tuple[Updates, OptState]:
        return updates, state

    @property
    def evaluates(self) -> bool | None:
        return False


class set_to_zero(identity):
    """Makes every update zero, so that the parameters stay."""

    def update(
        self, updates: Updates, state: OptState, params: Params = None, **extra_args: Any
    ) -> tuple[Updates, OptState]:
        return jax.tree.map(jnp.zeros_like, updates), state

    def plan(self, params: Params) -> PyTree:
        return jax.tree.map(
            lambda plan: dataclasses.replace(plan, frozen=True), plan_by(self, params)
        )


class scale(Rule):
    r"""Multiplies by a number: :math:`u = \alpha\,g`.

    Args:
        step_size: factor :math:`\alpha`, of any sign.
    """

    step_size: Scalar

    elementwise = keeps_zero = True
    elementwise = keeps_zero = True

    def update_leaf(self, grad: jax.Array, slots: Slots, param: Any, ctx: Context) -> LeafUpdate:
        return self.step_size * grad, {}


def scale_to_length(
    grads: Arrays, length: Numeric, eps: Numeric = 0.0, at_most: bool = False
) -> Arrays:
    r"""Updates that together have a length: :math:`\alpha\,g/(|g| + \epsilon)`.

    Right also where the norm, or a number over it, cannot be represented.

    Args:
        grads: the updates, a list of floating or complex arrays of one precision.
        length: :math:`\alpha`, the Euclidean norm of the result (of any sign).
        eps: :math:`\epsilon \ge 0`, added to the norm.
        at_most: whether updates that are shorter than ``length`` stay as they are, bit for bit.
    """
    size, by = scaled_norm(grads)
    length, eps = to_dtype(length, size.dtype), to_dtype(eps, size.dtype)
    divisor = size + eps * by
    change, divisor = relative_change(divisor), jax.lax.stop_gradient(divisor)
    numbers = jnp.minimum(by, 1), divide(jnp.maximum(by, 1), divisor), length, change
    if at_most:
        above = ~(size <= length * by)  # so that NaN stays for all to see
        numbers = (jnp.where(above, number, jnp.ones_like(size)) for number in numbers)
    first, second, third, change = numbers
    # One after the other: their product need not be representable.
    return [third * (second * (first * grad)) / change for grad in grads]


class scale_by_schedule(Rule):
    r"""Multiplies by a schedule of the count: :math:`u_t = \alpha(t)\,g_t`, the first with
    :math:`\alpha(0)`.

    Args:
        step_size_fn: factor :math:`\alpha`, of any sign: a schedule, a callable or a number.
    """

    step_size_fn: Scalar

    elementwise = keeps_zero = True

    def update_leaf(self, grad: jax.Array, slots: Slots, param: Any, ctx: Context) -> LeafUpdate:
        return self.step_size_fn * grad, {}


class scale_by_learning_rate(Rule):
    r"""Makes a step of a direction: :math:`u = -\eta\,g`.

    Args:
        learning_rate: learning rate :math:`\eta \ge 0`; the updates stay as they are if None.
        flip_sign: whether the step is against the direction; False for :math:`u = \eta\,g`.
    """

    learning_rate: Rate = None
    _: dataclasses.KW_ONLY
    flip_sign: Static[bool] = True

    elementwise = keeps_zero = True

    def update_leaf(self, grad: jax.Array, slots: Slots, param: Any, ctx: Context) -> LeafUpdate:
        if self.learning_rate is None:
            return grad, {}
        return (-self.learning_rate if self.flip_sign else self.learning_rate) * grad, {}


class trace(Rule):
    r"""Momentum: a decaying sum of gradients.

    .. math:: v_t = g_t + \beta\,v_{t-1}, \qquad u_t = v_t
        \quad\text{or, with Nesterov's,}\quad u_t = g_t + \beta\,v_t

    Args:
        decay: share of the old sum that remains, :math:`\beta \in [0, 1]`.
        nesterov: whether to look ahead along the sum.
        accumulator_dtype: dtype of the sum; the parameter's if None.

    References:
        Sutskever, Martens, Dahl & Hinton, *On the importance of initialization and momentum in
        deep learning*, ICML 2013, eqs. 1-4; in the form with the rate outside the sum.
    """

    decay: Fraction
    nesterov: Static[bool] = False
    accumulator_dtype: DType = None

    State = optax.TraceState
    elementwise = keeps_zero = True

    def init_leaf(self, param: jax.Array) -> dict[str, jax.Array]:
        return {"trace": zeros(param, self.accumulator_dtype)}

    def update_leaf(self, grad: jax.Array, slots: Slots, param: Any, ctx: Context) -> LeafUpdate:
        trace = grad + self.decay * slots.trace
        return (grad + self.decay * trace if self.nesterov else trace), {"trace": trace}


class ema(Rule):
    r"""The exponential moving average of updates.

    .. math:: m_t = \beta\,m_{t-1} + (1 - \beta)\,g_t, \qquad
        u_t = m_t / (1 - \beta^t) \quad\text{or, without debiasing,}\quad u_t = m_t

    Args:
        decay: decay of the average, :math:`\beta \in [0, 1)`.
        debias: whether to correct for the start at 0.
        accumulator_dtype: dtype of the average; the parameter's if None.

    When:
        Momentum whose size does not depend on :math:`\beta`, unlike that of :class:`trace`. Last
        in a chain it averages steps, not parameters.

    References:
        Kingma & Ba, *Adam: a method for stochastic optimization*, ICLR 2015, arXiv:1412.6980,
        Section 3, for the correction.
    """

    decay: Decay
    debias: Static[bool] = True
    accumulator_dtype: DType = None

    State = optax.EmaState
    elementwise = keeps_zero = True

    def init_leaf(self, param: jax.Array) -> dict[str, jax.Array]:
        return {"ema": zeros(param, self.accumulator_dtype)}

    def precompute(self, t: Numeric) -> Any:
        return bias_correction(self.decay, t) if self.debias else 1.0

    def update_leaf(self, grad: jax.Array, slots: Slots, param: Any, ctx: Context) -> LeafUpdate:
        average = moment(grad, slots.ema, self.decay)
        return average / ctx.precomputed, {"ema": average}


class add_decayed_weights(Rule):
    r"""Adds a share of the parameter: :math:`u = g + \lambda\,\theta`.

    After a preconditioner this is decoupled weight decay; before one, an L2 penalty, which
    :class:`add_l2` says by its name.

    Args:
        weight_decay: strength of the weight decay, :math:`\lambda \ge 0`.
        mask: the leaves to decay; all if None.

    References:
        Loshchilov & Hutter, *Decoupled weight decay regularization*, ICLR 2019, arXiv:1711.05101.
    """

    weight_decay: Rate = 0.0
    mask: Mask = None

    needs_params = True
    elementwise = True

    def update_leaf(self, grad: jax.Array, slots: Slots, param: Any, ctx: Context) -> LeafUpdate:
        if isinstance(self.weight_decay, float) and self.weight_decay == 0:
            return grad, {}  # XLA does not know that 0 times a number is 0, and reads it
        return grad + self.weight_decay * param, {}


class add_l2(add_decayed_weights):
    r"""Adds the gradient of :math:`\tfrac{\lambda}{2}\lVert\theta\rVert^2`; first in a chain.

    The penalty then goes through momentum and preconditioner with the gradient; for adaptive
    methods that is not :class:`add_decayed_weights` at the end.

    Args:
        weight_decay: strength of the weight decay, :math:`\lambda \ge 0`.
        mask: the leaves to penalize; all if None.
    """
