"""The mean gradient over a light estimate of the curvature."""

from __future__ import annotations

import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from optax.contrib import SophiaState

from fnopt.core import (
    Context,
    Decay,
    DType,
    Inner,
    NonNegative,
    Rule,
    Scalar,
    moment,
    real_zeros,
    zeros,
)
from fnopt.core.ranges import AtLeastOne, Bound
from fnopt.core.transform import at_count
from fnopt.core.types import LeafUpdate, OptState, Params, Slots, Updates
from fnopt.first_order.estimates import ByEstimates
from fnopt.first_order.hutchinson import hutchinson_estimator_diag_hessian


class _Moments(NamedTuple):
    mu: Any
    nu: Any


class _clipped_newton(Rule):
    """The mean gradient over a diagonal of the Hessian from an argument, element by element."""

    b1: Scalar
    eps: Scalar
    gamma: Scalar
    clip_threshold: Bound = None
    mu_dtype: DType = None
    _: dataclasses.KW_ONLY
    nu_dtype: DType = None

    State = _Moments

    def init_leaf(self, param: jax.Array) -> dict[str, jax.Array]:
        return {"mu": zeros(param, self.mu_dtype), "nu": real_zeros(param, dtype=self.nu_dtype)}

    def update_leaf(self, grad: jax.Array, slots: Slots, param: Any, ctx: Context) -> LeafUpdate:
        mu = moment(grad, slots.mu, self.b1)
        # With neither curvature nor eps the clipping alone bounds a step.
        step = jnp.where(mu == 0, mu, mu / jnp.maximum(self.gamma * slots.nu, self.eps))
        if self.clip_threshold is not None:
            if jnp.iscomplexobj(step):
                raise TypeError(
                    "scale_by_sophia clips numbers that have an order, but a parameter is complex;"
                    " optimize its real and imaginary parts: fnopt.split_real_and_imaginary(…), or"
                    " give clip_threshold=None"
                )
            step = jnp.clip(step, -self.clip_threshold, self.clip_threshold)
        return step, {"mu": mu, "nu": slots.nu}


class scale_by_sophia(ByEstimates):
    r"""Divides the mean of recent gradients by a mean of the Hessian's diagonal, and clips.

    .. math::
        m_t &= \beta_1\,m_{t-1} + (1 - \beta_1)\,g_t \\
        h_t &= \beta_2\,h_{t-1} + (1 - \beta_2)\,\hat h_t
            \quad\text{every }k\text{-th update, the first included; else } h_{t-1} \\
        u_t &= \operatorname{clip}\bigl(m_t / \max(\gamma\,h_t, \epsilon),\, \rho\bigr)

    So it is the paper's. optax divides by :math:`h_{t-1}` also when :math:`h_t` is new, and by
    :math:`1 - \beta_1^t` besides, which the paper does not. Where the curvature is not positive
    the step is of length :math:`\rho`. Its arguments for printing are left out:
    ``snapshot("win_rate", lambda u: ...)`` behind this shows the share that was not clipped.

    Args:
        b1: decay of the mean gradient, :math:`\beta_1 \in [0, 1)`.
        b2: decay of the mean diagonal, :math:`\beta_2 \in [0, 1)`, applied with each estimate.
        eps: smallest divisor, :math:`\epsilon \ge 0`.
        gamma: factor of the curvature, :math:`\gamma \ge 0`; the larger, the fewer elements are
            clipped. The authors want a tenth to a half of them not to be.
        clip_threshold: largest magnitude of an element, :math:`\rho > 0`; None or inf does not
            clip.
        update_interval: number of updates per estimate, :math:`k \ge 1`, rounded.
        hessian_diagonal_fn: a transform that gives :math:`\hat h`. It receives the extra arguments,
            of which Hutchinson's needs ``value_fn`` (or ``obj_fn``), and
            :class:`gauss_newton_bartlett_estimator_diag_hessian` ``evaluation``.
        mu_dtype: dtype of :math:`m`; the parameter's if None.
        nu_dtype: dtype of the mean square; the parameter's, float32 at least, if None.
    """

    b1: Decay = 0.965
    b2: Decay = 0.99
    eps: NonNegative = 1e-8
    gamma: NonNegative = 0.01
    clip_threshold: Bound = 1.0
    update_interval: AtLeastOne = 10.0
    hessian_diagonal_fn: Inner = hutchinson_estimator_diag_hessian()
    mu_dtype: DType = None
    _: dataclasses.KW_ONLY
    nu_dtype: DType = None
    family = "parts"

    State = SophiaState

    def init(self, params: Params) -> SophiaState:
        count = jnp.zeros((), jnp.int32)
        moments = self._direction(at_count(self, count)).init(params)
        inner = self.hessian_diagonal_fn.init(params)
        return SophiaState(count, moments.mu, moments.nu, inner)

    def update(
        self, updates: Updates, state: OptState, params: Params = None, **extra_args: Any
    ) -> tuple[Updates, OptState]:
        nu, inner = self.next_nu(lambda h: h, updates, state, params, extra_args)
        now = at_count(self, state.count)
        updates, moments = self._direction(now).update(updates, _Moments(state.mu, nu), params)
        count: Any = optax.safe_increment(state.count)
        return updates, SophiaState(count, moments.mu, moments.nu, inner)

    def _direction(self, now: Any) -> _clipped_newton:
        numbers = now.b1, now.eps, now.gamma, now.clip_threshold
        return _clipped_newton(*numbers, self.mu_dtype, nu_dtype=self.nu_dtype)
