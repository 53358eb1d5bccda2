"""The parts that optimizers share: leaving alone, scaling, decaying weights, momentum."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import optax

from fnopt.core.fields import DType, Static
from fnopt.core.mask import Mask
from fnopt.core.moments import bias_correction, divide, moment, relative_change, scaled_norm, zeros
from fnopt.core.rule import Rule
from fnopt.core.schedule import Decay, Fraction, Rate, Scalar, to_dtype
from fnopt.core.transform import Transform


class identity(Transform):
    """Leaves the updates as they are."""

    def init(self, params: Any) -> Any:
        return optax.EmptyState()

    def update(
        self, updates: Any, state: Any, params: Any = None, **extra_args: Any
    ) -> tuple[Any, Any]:
        return updates, state

    @property
    def evaluates(self) -> bool | None:
        return False

    @property
    def leafwise(self) -> bool:
        return True


class set_to_zero(identity):
    """Makes every update zero, so that the parameters stay."""

    def update(
        self, updates: Any, state: Any, params: Any = None, **extra_args: Any
    ) -> tuple[Any, Any]:
        return jax.tree.map(jnp.zeros_like, updates), state

    def frozen(self, params: Any) -> Any:
        return jax.tree.map(lambda param: True, params)


class scale(Rule):
    r"""Multiplies by a number: :math:`u = \alpha\,g`.

    Args:
        step_size: :math:`\alpha`, any sign.
    """

    step_size: Scalar

    def direct(self, grad: jax.Array, slots: Any, param: Any, t: Any) -> Any:
        return self.step_size * grad, {}


class _scale_in_turn(Rule):
    """Multiplies by numbers whose product need not be representable, one after the other."""

    first: Scalar
    second: Scalar
    third: Scalar
    change: Scalar

    def direct(self, grad: jax.Array, slots: Any, param: Any, t: Any) -> Any:
        # Beside wider leaves a number may be infinite in this dtype; what it is for is then 0.
        largest = jnp.finfo(grad.dtype).max
        second, third = (jnp.clip(x, -largest, largest) for x in (self.second, self.third))
        return third * (second * (self.first * grad)) / self.change, {}


def scale_to_length(
    grads: list[jax.Array], length: Any, eps: Any = 0.0, at_most: bool = False
) -> Rule:
    r"""The rule that gives these updates together a length: :math:`\alpha\,g/(|g| + \epsilon)`.

    Right also where the norm, or a number over it, cannot be represented.

    Args:
        grads: the updates.
        length: :math:`\alpha`.
        eps: :math:`\epsilon \ge 0`.
        at_most: leave shorter ones as they are, bit for bit.
    """
    size, by = scaled_norm(grads)
    length, eps = to_dtype(length, size.dtype), to_dtype(eps, size.dtype)
    divisor = size + eps * by
    change, divisor = relative_change(divisor), jax.lax.stop_gradient(divisor)
    numbers = jnp.minimum(by, 1), divide(jnp.maximum(by, 1), divisor), length, change
    if at_most:
        above = ~(size <= length * by)  # so that NaN stays for all to see
        numbers = (jnp.where(above, number, jnp.ones_like(size)) for number in numbers)
    return _scale_in_turn(*numbers)


class scale_by_schedule(Rule):
    r"""Multiplies by a schedule of the count: :math:`u_t = \alpha(t)\,g_t`, the first with
    :math:`\alpha(0)`.

    Args:
        step_size_fn: :math:`\alpha`, any sign.
    """

    step_size_fn: Scalar

    def direct(self, grad: jax.Array, slots: Any, param: Any, t: Any) -> Any:
        return self.step_size_fn * grad, {}


class scale_by_learning_rate(Rule):
    r"""Makes a step of a direction: :math:`u = -\eta\,g`.

    Args:
        learning_rate: :math:`\eta \ge 0`; None leaves the updates as they are.
        flip_sign: False for a step along the direction, :math:`u = \eta\,g`.
    """

    learning_rate: Rate = None
    _: dataclasses.KW_ONLY
    flip_sign: Static[bool] = True

    def direct(self, grad: jax.Array, slots: Any, param: Any, t: Any) -> Any:
        if self.learning_rate is None:
            return grad, {}
        return (-self.learning_rate if self.flip_sign else self.learning_rate) * grad, {}


class trace(Rule):
    r"""Momentum: a decaying sum of gradients.

    .. math:: v_t = g_t + \beta\,v_{t-1}, \qquad u_t = v_t
        \quad\text{or, with Nesterov's,}\quad u_t = g_t + \beta\,v_t

    Args:
        decay: :math:`\beta \in [0, 1]`.
        nesterov: look ahead along the sum.
        accumulator_dtype: of the sum.

    References:
        Sutskever, Martens, Dahl & Hinton, *On the importance of initialization and momentum in
        deep learning*, ICML 2013, eqs. 1-4; in the form with the rate outside the sum.
    """

    decay: Fraction
    nesterov: Static[bool] = False
    accumulator_dtype: DType = None

    State = optax.TraceState

    def slots(self, param: jax.Array) -> dict[str, jax.Array]:
        return {"trace": zeros(param, self.accumulator_dtype)}

    def direct(self, grad: jax.Array, slots: Any, param: Any, t: Any) -> Any:
        trace = grad + self.decay * slots.trace
        return (grad + self.decay * trace if self.nesterov else trace), {"trace": trace}


class ema(Rule):
    r"""The exponential moving average of updates.

    .. math:: m_t = \beta\,m_{t-1} + (1 - \beta)\,g_t, \qquad
        u_t = m_t / (1 - \beta^t) \quad\text{or, without debiasing,}\quad u_t = m_t

    Args:
        decay: :math:`\beta \in [0, 1)`.
        debias: correct for the start at 0.
        accumulator_dtype: of the average.

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

    def slots(self, param: jax.Array) -> dict[str, jax.Array]:
        return {"ema": zeros(param, self.accumulator_dtype)}

    def once(self, t: Any) -> Any:
        return bias_correction(self.decay, t) if self.debias else 1.0

    def direct(self, grad: jax.Array, slots: Any, param: Any, t: Any) -> Any:
        average = moment(grad, slots.ema, self.decay)
        return average / t, {"ema": average}


class add_decayed_weights(Rule):
    r"""Adds a share of the parameter: :math:`u = g + \lambda\,\theta`.

    After a preconditioner this is decoupled weight decay; before one, an L2 penalty, which
    :class:`add_l2` says by its name.

    Args:
        weight_decay: :math:`\lambda \ge 0`.
        mask: the leaves to decay; all if None.

    References:
        Loshchilov & Hutter, *Decoupled weight decay regularization*, ICLR 2019, arXiv:1711.05101.
    """

    weight_decay: Rate = 0.0
    mask: Mask = None

    needs_params = True

    def direct(self, grad: jax.Array, slots: Any, param: Any, t: Any) -> Any:
        return grad + self.weight_decay * param, {}


class add_l2(add_decayed_weights):
    r"""Adds the gradient of :math:`\tfrac{\lambda}{2}\lVert\theta\rVert^2`; first in a chain.

    The penalty then goes through momentum and preconditioner with the gradient; for adaptive
    methods that is not :class:`add_decayed_weights` at the end.

    Args:
        weight_decay: :math:`\lambda \ge 0`.
        mask: the leaves to penalize; all if None.
    """
