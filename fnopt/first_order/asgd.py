"""Averaged stochastic gradient descent."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from fnopt.core import Context, NonNegative, Rate, Rule, computing_dtype, zeros
from fnopt.core.ranges import Cap
from fnopt.core.types import LeafUpdate, Numeric, OptState, Params, Slots


class AsgdState(NamedTuple):
    """The state of :class:`asgd`.

    Attributes:
        count: number of updates so far.
        average: average of the parameters, in single precision at least.
    """

    count: jax.Array
    average: Any


class Numbers(NamedTuple):
    """The rate of this update, and the share of its parameters in their average."""

    rate: jax.Array
    share: jax.Array


class asgd(Rule):
    r"""Gradient descent with a slowly falling rate, whose result is the average of its path.

    .. math::
        \eta_t &= \frac{\eta}{(1 + \lambda\,\eta\,(t - 1))^\alpha}, &
        \theta_t &= (1 - \lambda\,\eta_t)\,\theta_{t-1} - \eta_t\,g_t, \\
        \mu_t &= 1 / \max(1, t - t_0), &
        \bar\theta_t &= \bar\theta_{t-1} + \mu_t\,(\theta_t - \bar\theta_{t-1})

    so :math:`\bar\theta_t` is the mean of the parameters since update :math:`t_0 + 1`, and before
    that the parameters. Gradients are taken at :math:`\theta`; :func:`asgd_eval_params` gives
    :math:`\bar\theta`. It must be the last transform of a chain. The parameters are those of
    torch's ASGD; its average leaves out one more of them, as ours with a ``t0`` larger by 1.

    Args:
        learning_rate: learning rate :math:`\eta \ge 0`.
        lambd: decay of the weights and of the rate, :math:`\lambda \ge 0`.
        alpha: power by which the rate falls, :math:`\alpha \ge 0`.
        t0: number of updates before the averaging, :math:`t_0 \ge 0`.

    When:
        Noisy problems, convex above all, where the averaged end is better than the last point;
        with ``t0`` at a half or three quarters of the run. The default never averages.

    References:
        Polyak & Juditsky, *Acceleration of stochastic approximation by averaging*, SIAM J. Control
        Optim. 30, 1992, doi:10.1137/0330046, eq. 3; Bottou, *Large-scale machine learning with
        stochastic gradient descent*, 2010, for the rate.

    >>> import fnopt, jax.numpy as jnp, optax
    >>> tx, x = fnopt.asgd(1.0, lambd=0.0, t0=0), jnp.array(0.0)
    >>> state = tx.init(x)
    >>> for gradient in (-1.0, -2.0):
    ...     updates, state = tx.update(jnp.array(gradient), state, x)
    ...     x = optax.apply_updates(x, updates)
    >>> float(x), float(fnopt.asgd_eval_params(state, x))
    (3.0, 2.0)
    """

    learning_rate: Rate = 1e-2
    lambd: NonNegative = 1e-4
    alpha: NonNegative = 0.75
    t0: Cap = 1e6
    family = "gradient_descent"

    State = AsgdState
    needs_params = True
    elementwise = True

    def eval_params(self, state: OptState, params: Params) -> Params:
        return _like(state.average, params)

    def init_leaf(self, param: jax.Array) -> dict[str, jax.Array]:
        wide = computing_dtype(param.dtype)
        return {"average": zeros(param, wide) + param.astype(wide)}

    def precompute(self, t: Numeric) -> Numbers:
        rate = self.learning_rate / (1 + self.lambd * self.learning_rate * (t - 1)) ** self.alpha
        return Numbers(rate, 1 / jnp.maximum(t - self.t0, jnp.ones_like(t)))

    def update_leaf(self, grad: jax.Array, slots: Slots, param: Any, ctx: Context) -> LeafUpdate:
        rate, share = ctx.precomputed
        update = -rate * (self.lambd * param + grad)
        return update, {"average": slots.average + share * (param + update - slots.average)}


def asgd_eval_params(state: OptState, params: Params) -> Params:
    """The averaged parameters, for evaluation.

    Args:
        state: the state of :class:`asgd`, or of an optimizer that contains one.
        params: the parameters, whose dtypes the result has.

    >>> import fnopt, jax.numpy as jnp
    >>> params = jnp.array(1.0)
    >>> fnopt.asgd_eval_params(fnopt.asgd(0.1).init(params), params)
    Array(1., dtype=float32)
    """
    return _like(optax.tree.get(state, "average"), params)


def _like(average: Params, params: Params) -> Params:
    """An average in the dtypes of the parameters."""
    return jax.tree.map(lambda a, p: a.astype(jnp.result_type(p)), average, params)
