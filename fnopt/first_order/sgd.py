"""Stochastic gradient descent, optionally with momentum."""

from __future__ import annotations

from fnopt.core import (
    Composed,
    Decay,
    DType,
    Rate,
    Static,
    Transform,
    identity,
    scale_by_learning_rate,
    trace,
)


class sgd(Composed):
    r"""Gradient descent: full-batch, mini-batch or stochastic, as the gradient is.

    .. math:: v_t = g_t + \mu\,v_{t-1}, \qquad \Delta\theta_t = -\eta_t\,v_t

    and with Nesterov's momentum :math:`\Delta\theta_t = -\eta_t\,(g_t + \mu\,v_t)`. The rate
    stands outside the velocity: see :class:`heavy_ball` for the other convention.

    Args:
        learning_rate: learning rate :math:`\eta \ge 0`.
        momentum: decay of the velocity, :math:`\mu \in [0, 1)`; no velocity if None.
        nesterov: whether to look ahead along the velocity.
        accumulator_dtype: dtype of the velocity; the parameter's if None.

    When:
        With momentum, convolutional networks whose rate and schedule are tuned, where it often
        generalizes best; without, a baseline and large convex problems.

    References:
        Robbins & Monro, *A stochastic approximation method*, 1951, doi:10.1214/aoms/1177729586;
        Sutskever, Martens, Dahl & Hinton, *On the importance of initialization and momentum in
        deep learning*, ICML 2013, eqs. 1-4.

    >>> import fnopt, jax.numpy as jnp
    >>> tx = fnopt.sgd(0.1, momentum=0.9)
    >>> updates, state = tx.update(jnp.array([1.0]), tx.init(jnp.array([5.0])))
    >>> updates
    Array([-0.1], dtype=float32)
    """

    learning_rate: Rate
    momentum: Decay = None
    nesterov: Static[bool] = False
    accumulator_dtype: DType = None
    family = "gradient_descent"
    usual_rate = 0.1

    def parts(self) -> tuple[Transform, ...]:
        velocity = (
            identity()
            if self.momentum is None
            else trace(self.momentum, self.nesterov, self.accumulator_dtype)
        )
        return velocity, scale_by_learning_rate(self.learning_rate)
