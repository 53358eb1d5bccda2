"""Adam's quotient with the diagonal of the Hessian as its divisor."""

from __future__ import annotations

import dataclasses
from typing import Annotated, Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from fnopt.core import (
    Decay,
    DType,
    Fraction,
    Inner,
    NonNegative,
    abs_sq,
)
from fnopt.core.fields import Field
from fnopt.core.ranges import AtLeastOne
from fnopt.core.transform import at_count
from fnopt.core.types import OptState, Params, Updates
from fnopt.curvature.quotient import Moments, QuotientByPower
from fnopt.first_order.estimates import ByEstimates
from fnopt.first_order.hutchinson import hutchinson_estimator_diag_hessian

SpatialAxes = Annotated[Any, Field(static=True, choices=("first", "last", None))]
"""Where the kernels of convolutions have the axes of space: before or after the channels'."""


class ScaleByAdahessianState(NamedTuple):
    """The state of :class:`scale_by_adahessian`.

    Attributes:
        count: number of updates.
        estimates: number of estimates of the diagonal.
        mu: mean of the gradients.
        nu: mean of the squares of the diagonal.
        hessian_fn_state: state of the transform that gives the estimates.
    """

    count: jax.Array
    estimates: jax.Array
    mu: Any
    nu: Any
    hessian_fn_state: Any


class scale_by_adahessian(ByEstimates):
    r"""Divides the mean of recent gradients by a mean of the Hessian's diagonal.

    .. math::
        m_t &= \beta_1\,m_{t-1} + (1 - \beta_1)\,g_t, & \hat m_t &= m_t / (1 - \beta_1^t) \\
        v_t &= \beta_2\,v_{t-1} + (1 - \beta_2)\,\bar h_t^2, & \hat v_t &= v_t / (1 - \beta_2^s) \\
        u_t &= \hat m_t / (\hat v_t^{k/2} + \epsilon)

    with :math:`\bar h` the estimate :math:`\hat h` of the diagonal, in the kernels of convolutions
    its mean over the axes of space. :math:`v` takes in an estimate every ``update_interval``
    updates, the first included, and else stays; :math:`s` is their number.

    As in the paper the mean is that of :math:`\hat h`; the authors' code takes that of its
    magnitude. Kernels of convolutions are taken to be the leaves of four and more axes.

    Args:
        b1: decay of the mean gradient, :math:`\beta_1 \in [0, 1)`.
        b2: decay of the mean square of the diagonal, :math:`\beta_2 \in [0, 1)`.
        eps: added to the divisor, :math:`\epsilon \ge 0`.
        hessian_power: power of the curvature, :math:`k \in [0, 1]`.
        update_interval: number of updates from one estimate to the next, at least 1, rounded.
        spatial_axes: where kernels have the axes of space: "first" as in Flax (height, width,
            inputs, outputs), "last" as in torch (outputs, inputs, height, width); None averages
            nothing.
        hessian_diagonal_fn: a transform that gives :math:`\hat h`. It receives the extra arguments,
            of which Hutchinson's needs ``value_fn`` (or ``obj_fn``), and
            :class:`gauss_newton_bartlett_estimator_diag_hessian` ``evaluation``.
        mu_dtype: dtype of :math:`m`; the parameter's if None.
        nu_dtype: dtype of the mean square; the parameter's, float32 at least, if None.
    """

    b1: Decay = 0.9
    b2: Decay = 0.999
    eps: NonNegative = 1e-4
    hessian_power: Fraction = 1.0
    update_interval: AtLeastOne = 1.0
    spatial_axes: SpatialAxes = "first"
    hessian_diagonal_fn: Inner = hutchinson_estimator_diag_hessian()
    mu_dtype: DType = None
    _: dataclasses.KW_ONLY
    nu_dtype: DType = None
    family = "parts"

    State = ScaleByAdahessianState

    def init(self, params: Params) -> ScaleByAdahessianState:
        count = jnp.zeros((), jnp.int32)
        moments = self._quotient(at_count(self, count), count).init(params)
        inner = self.hessian_diagonal_fn.init(params)
        return ScaleByAdahessianState(count, count, moments.mu, moments.nu, inner)

    def update(
        self, updates: Updates, state: OptState, params: Params = None, **extra_args: Any
    ) -> tuple[Updates, OptState]:
        nu, inner = self.next_nu(
            lambda h: abs_sq(self._over_space(h)), updates, state, params, extra_args
        )
        now, more = at_count(self, state.count), optax.safe_increment(state.estimates)
        estimates = jnp.where(self.is_due(state.count), more, state.estimates)
        moments = Moments(state.count, state.mu, nu)
        updates, moments = self._quotient(now, estimates).update(updates, moments, params)
        count: Any = moments.count
        return updates, ScaleByAdahessianState(count, estimates, moments.mu, moments.nu, inner)

    def _over_space(self, diagonal: jax.Array) -> jax.Array:
        if self.spatial_axes is None or diagonal.ndim < 4:
            return diagonal
        axes = range(diagonal.ndim - 2) if self.spatial_axes == "first" else range(2, diagonal.ndim)
        return jnp.broadcast_to(jnp.mean(diagonal, tuple(axes), keepdims=True), diagonal.shape)

    def _quotient(self, now: Any, estimates: jax.Array) -> QuotientByPower:
        numbers = now.b1, now.b2, now.eps, now.hessian_power, estimates
        return QuotientByPower(*numbers, self.mu_dtype, nu_dtype=self.nu_dtype)
