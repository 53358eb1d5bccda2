"""Hypergradient descent: a learning rate that is itself learnt by gradient descent."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from fnopt.core import Decay, Joint, NonNegative, Rate, zeros
from fnopt.first_order.adam import scale_by_adam


class HypergradientSgdState(NamedTuple):
    """The state of :class:`hypergradient_sgd`.

    Attributes:
        learning_rate: the one applied last; before the first update the initial one.
        direction: the last step over the rate, without its sign.
    """

    learning_rate: jax.Array
    direction: Any


class HypergradientAdamState(NamedTuple):
    """The state of :class:`hypergradient_adam`; ``mu`` and ``nu`` are Adam's moments.

    Attributes:
        learning_rate: the one applied last; before the first update the initial one.
        direction: the last step over the rate, without its sign.
    """

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
        learning_rate: :math:`\alpha_0 \ge 0`; of a schedule the first value alone.
        hypergrad_lr: :math:`\beta \ge 0`.

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

    def begin(self, params: list[jax.Array]) -> dict[str, Any]:
        return {"learning_rate": jnp.asarray(self.learning_rate, jnp.result_type(float))}

    def slots(self, param: jax.Array) -> dict[str, jax.Array]:
        return {"direction": zeros(param)}

    def direction(self, grad: jax.Array, slots: Any, t: Any) -> tuple[jax.Array, dict[str, Any]]:
        """The step over the rate, without its sign, and the slots it needs."""
        return grad, {}

    def direct_all(
        self, grads: Any, slots: Any, params: Any, shared: Any, t: Any, **extra_args: Any
    ) -> Any:
        # Not vdot, which would refuse gradients of another shape than the slots without their path.
        slope = sum(
            jnp.sum((g * jnp.conj(s.direction)).real) for g, s in zip(grads, slots, strict=True)
        )
        rate = shared["learning_rate"] + self.hypergrad_lr * slope
        found = [self.direction(g, s, t) for g, s in zip(grads, slots, strict=True)]
        rows = [{**row, "direction": direction} for direction, row in found]
        return [-rate * direction for direction, _ in found], rows, {"learning_rate": rate}

    def hyperparameters(self, state: Any, **extra_args: Any) -> dict[str, Any]:
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
        learning_rate: :math:`\alpha_0 \ge 0`; of a schedule the first value alone.
        hypergrad_lr: :math:`\beta \ge 0`.
        b1: :math:`\beta_1 \in [0, 1)`, of the mean.
        b2: :math:`\beta_2 \in [0, 1)`, of the mean square.
        eps: :math:`\epsilon \ge 0`, beside the root.

    When:
        As :class:`hypergradient_sgd`, where Adam is wanted.

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

    def slots(self, param: jax.Array) -> dict[str, jax.Array]:
        return {**super().slots(param), **self._adam().slots(param)}

    def once(self, t: Any) -> Any:
        return self._adam().once(t)

    def direction(self, grad: jax.Array, slots: Any, t: Any) -> tuple[jax.Array, dict[str, Any]]:
        return self._adam().direct(grad, slots, None, t)
