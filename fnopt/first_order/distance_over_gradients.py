"""Distance over gradients, layer by layer."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from fnopt.core import (
    Context,
    DType,
    NonNegative,
    Rule,
    Scalar,
    abs_sq,
    computing_dtype,
    divide,
    norm,
    root,
)
from fnopt.core.moments import cast
from fnopt.core.types import LeafUpdate, Slots


class ScaleByDistanceOverGradientsState(NamedTuple):
    """What every leaf remembers.

    Attributes:
        max_dist: the longest distance from the start so far.
        grad_sum_of_squares: the sum of all squared norms of its gradient.
        init_params: the parameters at the start.
    """

    max_dist: Any
    grad_sum_of_squares: Any
    init_params: Any


class scale_by_distance_over_gradients(Rule):
    r"""Finds a rate for every leaf: how far it has come over how large its gradients were (LDoG).

    .. math::
        \bar r_t &= \max(\bar r_{t-1}, \lVert\theta_t - \theta_0\rVert), \qquad
            \bar r_0 = r\,(1 + \lVert\theta_0\rVert) \\
        u_t &= \alpha\,\frac{\bar r_t}{\sqrt{\sum_{i \le t} \lVert g_i\rVert^2 + \epsilon}}\,g_t

    each norm that of one leaf. The start is never stored narrower than the parameter, as optax does
    for double precision: the first short distances would be lost.

    When:
        There is no time to tune a rate; average the parameters, as the authors do.

    Args:
        reps_rel: first distance relative to the start, :math:`r \ge 0`; 1e-4 with batch
            normalization.
        eps: added under the root, :math:`\epsilon \ge 0`.
        param_dtype: dtype of the remembered start; the parameter's where that is wider, or if None.
        global_scale: factor of the direction, :math:`\alpha`; -1 for steps.

    References:
        Ivgi, Hinder & Carmon, *DoG is SGD's best friend: a parameter-free dynamic step size
        schedule*, ICML 2023, arXiv:2302.12022, the formula (DoG) for each layer (L-DoG).
    """

    reps_rel: NonNegative = 1e-6
    eps: NonNegative = 1e-8
    param_dtype: DType = jnp.float32
    global_scale: Scalar = 1.0

    State = ScaleByDistanceOverGradientsState
    needs_params = True
    keeps_zero = True

    def init_leaf(self, param: jax.Array) -> dict[str, jax.Array]:
        size = norm(cast(param, computing_dtype(param.dtype)))
        wide = computing_dtype(param.dtype, self.param_dtype or param.dtype)
        return {
            "max_dist": cast(jnp.asarray(self.reps_rel * (1 + size)), size.dtype),
            "grad_sum_of_squares": jnp.zeros_like(size),
            "init_params": jnp.array(param, wide),
        }

    def update_leaf(self, grad: jax.Array, slots: Slots, param: Any, ctx: Context) -> LeafUpdate:
        farthest = jnp.maximum(slots.max_dist, norm(param - slots.init_params))
        total = slots.grad_sum_of_squares + jnp.sum(abs_sq(grad))
        rate = divide(self.global_scale * farthest, root(total + self.eps))
        new = {
            "max_dist": farthest,
            "grad_sum_of_squares": total,
            "init_params": slots.init_params,
        }
        return rate * grad, new
