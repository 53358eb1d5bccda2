"""SWATS."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from fnopt.core import (
    Context,
    Decay,
    Joint,
    NonNegative,
    Rate,
    abs_sq,
    bias_correction,
    divide,
    moment,
    rate_correction,
    real_zeros,
    root,
    vdot,
    zeros,
)
from fnopt.core.types import Arrays, LeavesUpdate, Rows


class SwatsState(NamedTuple):
    """The state of :class:`swats`.

    Attributes:
        count: number of updates so far.
        mu: the mean of the gradients; after the switch the velocity.
        nu: the mean of their squares; stands still after the switch.
        mean_rate: the average of the projected rates.
        sgd_rate: the rate after the switch; 0 before it.
        max_lr: the largest learning rate so far.
    """

    count: jax.Array
    mu: Any
    nu: Any
    mean_rate: jax.Array
    sgd_rate: jax.Array
    max_lr: jax.Array


class swats(Joint):
    r"""Adam at first, then gradient descent with momentum at a rate that Adam's steps suggest.

    Adam's step :math:`p_t` is that of gradient descent with a rate :math:`\gamma_t` that makes
    :math:`p_t` its projection; when the average of these rates has settled, the method switches:

    .. math::
        p_t &= -\eta_t \frac{\sqrt{1 - \beta_2^t}}{1 - \beta_1^t} \cdot
            \frac{m_t}{\sqrt{v_t} + \epsilon}, \qquad
        \gamma_t = \frac{p_t^\top p_t}{-p_t^\top g_t}, \\
        \lambda_t &= \beta_2\,\lambda_{t-1} + (1 - \beta_2)\,\gamma_t, \qquad
        \text{switch if}\quad \bigl|\lambda_t / (1 - \beta_2^t) - \gamma_t\bigr| < \epsilon
        \quad\text{and}\quad t > 1.

    From then on, with :math:`\Lambda = \lambda_t / (1 - \beta_2^t)` and :math:`v` from 0,

    .. math:: v_t = \beta_1\,v_{t-1} + g_t, \qquad
        \Delta\theta_t = -(1 - \beta_1)\,\Lambda\,v_t

    The products are of all parameters together. Unlike in the paper, the rates are stored in
    units of :math:`\eta_t`, so that a schedule goes on acting after the switch, and are compared in
    units of the largest :math:`\eta` so far, so that a schedule that comes near 0 brings about no
    switch (at a constant rate neither changes anything); and there is no switch to a negative
    :math:`\Lambda`.

    Args:
        learning_rate: learning rate of Adam's phase, :math:`\eta \ge 0`.
        b1: decay of the mean, and of the momentum after the switch, :math:`\beta_1 \in [0, 1)`.
        b2: decay of the mean square and of the rates, :math:`\beta_2 \in [0, 1)`.
        eps: added to the root, :math:`\epsilon \ge 0`, and how near the rates must come.

    When:
        Vision models where Adam starts faster and SGD ends better. Whether and when it switches
        depends on ``eps``; with the paper's 1e-9 it may never.

    References:
        Keskar & Socher, *Improving generalization performance by switching from Adam to SGD*,
        2017, arXiv:1712.07628, Algorithm 1.
    """

    learning_rate: Rate = 1e-3
    b1: Decay = 0.9
    b2: Decay = 0.999
    eps: NonNegative = 1e-9
    family = "adaptive"

    State = SwatsState
    shared = ("mean_rate", "sgd_rate", "max_lr")
    elementwise = keeps_zero = True

    def init_shared(self, params: Arrays) -> dict[str, Any]:
        return {name: jnp.zeros((), jnp.result_type(float)) for name in self.shared}

    def init_leaf(self, param: jax.Array) -> dict[str, jax.Array]:
        return {"mu": zeros(param), "nu": real_zeros(param)}

    def update_leaves(
        self, grads: Arrays, slots: Rows, params: Any, shared: Any, ctx: Context, **extra_args: Any
    ) -> LeavesUpdate:
        mean_rate, sgd_rate = shared["mean_rate"], shared["sgd_rate"]
        switched = sgd_rate > 0
        correction = bias_correction(self.b2, ctx.t)

        # Adam's phase, with p in units of the rate and of the opposite sign.
        mu = [moment(g, s.mu, self.b1) for g, s in zip(grads, slots, strict=True)]
        nu = [moment(abs_sq(g), s.nu, self.b2) for g, s in zip(grads, slots, strict=True)]
        factor = rate_correction(self.b1, self.b2, ctx.t)
        p = [divide(factor * m, root(v), eps=self.eps) for m, v in zip(mu, nu, strict=True)]
        along = vdot(p, grads)
        rate = divide(vdot(p, p), along)
        mean = jnp.where(along == 0, mean_rate, moment(rate, mean_rate, self.b2))
        # By the largest rate so far: at one near 0 any two rates are less than eps apart.
        max_lr = jnp.maximum(shared["max_lr"], self.learning_rate)
        settled = max_lr * jnp.abs(mean / correction - rate) < self.eps
        # Only after a step: until there is one the gradients are the same, and so are the rates.
        moved = shared["max_lr"] > 0
        now = settled & moved & (ctx.t > 1) & (along != 0) & (mean > 0)

        # The other one.
        velocity = [self.b1 * s.mu + g for g, s in zip(grads, slots, strict=True)]

        steps, rows = [], []
        for adams, v, m, n, s in zip(p, velocity, mu, nu, slots, strict=True):
            step = jnp.where(switched, (1 - self.b1) * sgd_rate * v, adams)
            steps.append(-self.learning_rate * step)
            after = jnp.where(now, jnp.zeros_like(m), m)
            rows.append({"mu": jnp.where(switched, v, after), "nu": jnp.where(switched, s.nu, n)})
        return (
            steps,
            rows,
            {
                "mean_rate": jnp.where(switched, mean_rate, mean),
                "sgd_rate": jnp.where(~switched & now, mean / correction, sgd_rate),
                "max_lr": max_lr,
            },
        )
