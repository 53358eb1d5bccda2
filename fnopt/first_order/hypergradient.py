"""Hypergradient descent: a learning rate that is itself learnt by gradient descent."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from fnopt.core import Context, Decay, Joint, NonNegative, Rate, zeros
from fnopt.core.types import Arrays, LeafUpdate, LeavesUpdate, Numeric, OptState, Rows, Slots
from fnopt.first_order.adam import scale_by_adam


class HypergradientSgdState(NamedTuple):
    """The state of :class:`hypergradient_sgd`.

    Attributes:
        learning_rate: the rate of the last update; before the first the initial rate.
        direction: the last step divided by the rate, without its sign.
    """

    learning_rate: jax.Array
    direction: Any


class HypergradientAdamState(NamedTuple):
    """That of :class:`hypergradient_sgd`, with the count and with Adam's ``mu`` and ``nu``."""

    count: jax.Array
    learning_rate: jax.Array
    direction: Any
    mu: Any
    nu: Any


class hypergradient_sgd(Joint):
    r"""Gradient descent whose rate descends its own gradient (SGD-HD).

    .. math:: \alpha_t = \alpha_{t-1} + \beta\,g_t^\top g_{t-1}, \qquad
        \Delta\theta_t = -\alpha_t\,g_t, \qquad g_0 = 0

    The product is of all parameters together; their rate is one number in the state, which may
    become negative, as in the paper.

    Args:
        learning_rate: initial learning rate :math:`\alpha_0 \ge 0`; of a schedule the first value.
        hypergrad_lr: learning rate of the learning rate, :math:`\beta \ge 0`.

    When:
        To spare the search for a rate, at the price of one for :math:`\beta`, to which the result
        is less sensitive. A too large one diverges.

    References:
        Baydin, Cornish, Martínez Rubio, Schmidt & Wood, *Online learning rate adaptation with
        hypergradient descent*, ICLR 2018, arXiv:1703.04782, Algorithm 4.

    >>> import fnopt, jax, jax.numpy as jnp, optax
    >>> tx, x = fnopt.hypergradient_sgd(0.01, hypergrad_lr=1e-3), jnp.array(2.0)
    >>> state = tx.init(x)
    >>> for _ in range(3):
    ...     updates, state = tx.update(x, state, x)  # the gradient of x**2 / 2
    ...     x = optax.apply_updates(x, updates)
    >>> round(float(state.learning_rate), 4)
    0.0178
    """

    learning_rate: Rate
    hypergrad_lr: Rate = 1e-6
    family = "gradient_descent"

    State = HypergradientSgdState
    shared = ("learning_rate",)
    elementwise = keeps_zero = True

    def init_shared(self, params: Arrays) -> dict[str, Any]:
        return {"learning_rate": jnp.asarray(self.learning_rate, jnp.result_type(float))}

    def init_leaf(self, param: jax.Array) -> dict[str, jax.Array]:
        return {"direction": zeros(param)}

    def direction(self, grad: jax.Array, slots: Slots, ctx: Context) -> LeafUpdate:
        """The step divided by the rate, without its sign, and its next slots by name."""
        return grad, {}

    def update_leaves(
        self, grads: Arrays, slots: Rows, params: Any, shared: Any, ctx: Context, **extra_args: Any
    ) -> LeavesUpdate:
        # Not vdot, which would refuse gradients of another shape than the slots without their path.
        slope = sum(
            jnp.sum((g * jnp.conj(s.direction)).real) for g, s in zip(grads, slots, strict=True)
        )
        rate = shared["learning_rate"] + self.hypergrad_lr * slope
        results = [self.direction(g, s, ctx) for g, s in zip(grads, slots, strict=True)]
        rows = [{**row, "direction": direction} for direction, row in results]
        return [-rate * direction for direction, _ in results], rows, {"learning_rate": rate}

    def hyperparameters(self, state: OptState, **extra_args: Any) -> dict[str, Any]:
        # The rate of the next update is known only with its gradient.
        rate = optax.tree.get(state, "learning_rate")
        return {**super().hyperparameters(state), "learning_rate": rate}


class hypergradient_adam(hypergradient_sgd):
    r"""Adam whose rate descends its own gradient (Adam-HD).

    .. math:: r_t = \hat m_t / (\sqrt{\hat v_t} + \epsilon), \qquad
        \alpha_t = \alpha_{t-1} + \beta\,g_t^\top r_{t-1}, \qquad
        \Delta\theta_t = -\alpha_t\,r_t, \qquad r_0 = 0

    with Adam's moments; see :class:`hypergradient_sgd`.

    Args:
        learning_rate: initial learning rate :math:`\alpha_0 \ge 0`; of a schedule the first value.
        hypergrad_lr: learning rate of the learning rate, :math:`\beta \ge 0`.
        b1: decay of the mean, :math:`\beta_1 \in [0, 1)`.
        b2: decay of the mean square, :math:`\beta_2 \in [0, 1)`.
        eps: added to the root, :math:`\epsilon \ge 0`.

    When:
        As :class:`hypergradient_sgd`, for Adam.

    References:
        Baydin, Cornish, Martínez Rubio, Schmidt & Wood, *Online learning rate adaptation with
        hypergradient descent*, ICLR 2018, arXiv:1703.04782, Algorithm 6.
    """

    hypergrad_lr: Rate = 1e-8
    b1: Decay = 0.9
    b2: Decay = 0.999
    eps: NonNegative = 1e-8
    family = "adaptive"

    State = HypergradientAdamState

    def _adam(self) -> scale_by_adam:
        return scale_by_adam(self.b1, self.b2, self.eps)

    def init_leaf(self, param: jax.Array) -> dict[str, jax.Array]:
        return {**super().init_leaf(param), **self._adam().init_leaf(param)}

    def precompute(self, t: Numeric) -> Any:
        return self._adam().precompute(t)

    def direction(self, grad: jax.Array, slots: Slots, ctx: Context) -> LeafUpdate:
        return self._adam().update_leaf(grad, slots, None, ctx)
