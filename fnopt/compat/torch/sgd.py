"""torch's SGD."""

from __future__ import annotations

import dataclasses
from typing import Annotated, Any, NamedTuple

import jax
import jax.numpy as jnp

from fnopt.compat.torch.base import Momentum, ScheduledOffAtZero, Switch, TorchOptimizer
from fnopt.core import Context, Fraction, Rate, Rule, Scalar, Static, Transform, trace, zeros
from fnopt.core.types import LeafUpdate, Numeric, Slots

Dampening = Annotated[Any, ScheduledOffAtZero()]


class DampedTraceState(NamedTuple):
    """The state of :class:`damped_trace`."""

    count: jax.Array
    trace: Any


class damped_trace(Rule):
    r"""Momentum that takes in a share of each gradient, but all of the first.

    .. math:: v_1 = g_1, \qquad v_t = \mu\,v_{t-1} + (1 - \tau)\,g_t

    Args:
        decay: decay of the velocity, :math:`\mu \in [0, 1]`.
        dampening: share of a gradient that is left out, :math:`\tau`.
    """

    decay: Fraction
    dampening: Scalar

    State = DampedTraceState
    elementwise = keeps_zero = True

    def init_leaf(self, param: jax.Array) -> dict[str, jax.Array]:
        return {"trace": zeros(param)}

    def precompute(self, t: Numeric) -> Any:
        return jnp.where(t == 1, 1.0, 1 - self.dampening)

    def update_leaf(self, grad: jax.Array, slots: Slots, param: Any, ctx: Context) -> LeafUpdate:
        new = self.decay * slots.trace + ctx.precomputed * grad
        return new, {"trace": new}


class SGD(TorchOptimizer):
    r"""``torch.optim.SGD``: gradient descent, optionally with momentum.

    .. math::
        g_t &= \nabla f(\theta_{t-1}) + \lambda\,\theta_{t-1}, &
        v_1 &= g_1, \quad v_t = \mu\,v_{t-1} + (1 - \tau)\,g_t \\
        \theta_t &= \theta_{t-1} - \eta_t\,v_t
        & &\text{or, with Nesterov's,}\quad \theta_{t-1} - \eta_t\,(g_t + \mu\,v_t)

    The rate is outside the velocity: a lower rate acts at once.

    Args:
        lr: learning rate :math:`\eta \ge 0`.
        momentum: decay of the velocity, :math:`\mu \in [0, 1]`; no velocity is stored if 0.
        dampening: share of every gradient but the first that is left out, :math:`\tau`.
        weight_decay: strength of an L2 penalty in the gradient, :math:`\lambda \ge 0`.
        nesterov: whether to look ahead along the velocity.
        maximize: whether to maximize the objective.
        foreach, differentiable, fused: ignored; see :class:`TorchOptimizer`.

    Raises:
        ValueError: a number is out of its range, or ``nesterov`` is without momentum or with
            dampening.

    References:
        Sutskever, Martens, Dahl & Hinton, ICML 2013, and torch 2.13, ``torch/optim/sgd.py``.

    >>> from fnopt.compat.torch import SGD
    >>> SGD(0.1, momentum=0.9)
    SGD(lr=0.1, momentum=0.9, dampening=None, weight_decay=0.0, nesterov=False, maximize=False)
    """

    lr: Rate = 1e-3
    momentum: Momentum = 0
    dampening: Dampening = 0
    weight_decay: Rate = 0.0
    nesterov: Static[bool] = False
    _: dataclasses.KW_ONLY
    maximize: Static[bool] = False
    foreach: Switch = None
    differentiable: Switch = False
    fused: Switch = None

    def __post_init__(self, *switches: Any) -> None:
        super().__post_init__(*switches)
        if self.nesterov and (self.momentum is None or self.dampening is not None):
            raise ValueError(
                "SGD: nesterov needs a momentum above 0 and a dampening of 0, got"
                f" momentum={self.momentum or 0}, dampening={self.dampening or 0}"
            )

    def parts(self) -> tuple[Transform, ...]:
        if self.momentum is None:
            return self.around()
        if self.dampening is None:
            return self.around(trace(self.momentum, self.nesterov))
        return self.around(damped_trace(self.momentum, self.dampening))
