"""DoWG: distance over weighted gradients."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import optax.contrib

from fnopt.core import (
    Composed,
    Context,
    Joint,
    Mask,
    NonNegative,
    Positive,
    Rate,
    Transform,
    add_decayed_weights,
    divide,
    identity,
    real_number,
    root,
    scale_by_learning_rate,
    vdot,
)
from fnopt.core.types import Arrays, LeavesUpdate, Rows


class scale_by_dowg(Joint):
    r"""Multiplies by the squared distance covered over the root of weighted squared gradients.

    .. math::
        \bar r_t^2 = \max(\bar r_{t-1}^2, \lVert \theta_{t-1} - \theta_0 \rVert^2), \qquad
        v_t = v_{t-1} + \bar r_t^2\,\lVert g_t \rVert^2, \qquad
        u_t = g_t\,\bar r_t^2 / (\sqrt{v_t} + \epsilon)

    Args:
        init_estim_sq_dist: first squared distance, :math:`\bar r_0^2 > 0`; :math:`\epsilon` if
            None.
        eps: added to the root, :math:`\epsilon \ge 0`.
    """

    init_estim_sq_dist: Positive = None
    eps: NonNegative = 1e-4

    State = optax.contrib.DoWGState
    shared = ("weighted_sq_norm_grads", "estim_sq_dist")
    needs_params = True
    elementwise = keeps_zero = True

    def init_shared(self, params: Arrays) -> dict[str, Any]:
        first = self.eps if self.init_estim_sq_dist is None else self.init_estim_sq_dist
        return {
            "weighted_sq_norm_grads": real_number(0.0, params),
            "estim_sq_dist": real_number(first, params),
        }

    def init_leaf(self, param: jax.Array) -> dict[str, jax.Array]:
        return {"init_params": jnp.array(param)}

    def update_leaves(
        self, grads: Arrays, slots: Rows, params: Any, shared: Any, ctx: Context, **extra_args: Any
    ) -> LeavesUpdate:
        moved = [p - s.init_params for p, s in zip(params, slots, strict=True)]
        distance = jnp.maximum(shared["estim_sq_dist"], vdot(moved, moved))
        total = shared["weighted_sq_norm_grads"] + distance * vdot(grads, grads)
        rate = divide(distance, root(total) + self.eps)
        new = {"weighted_sq_norm_grads": total, "estim_sq_dist": distance}
        return [rate * g for g in grads], [s._asdict() for s in slots], new


class dowg(Composed):
    r"""DoWG: DoG with gradients weighted by the distance they were met at, for faster growth.

    .. math:: \Delta\theta_t = -\eta_t\,g_t\,\bar r_t^2 \,\big/\,
        \bigl(\epsilon + \sqrt{\textstyle\sum_{i \le t} \bar r_i^2\,\lVert g_i \rVert^2}\bigr)

    with :math:`\bar r_t` the farthest distance from the start so far.

    Args:
        learning_rate: factor of the rate that is found, :math:`\eta \ge 0`; 1 in the paper.
        init_estim_sq_dist: first squared distance, :math:`\bar r_0^2 > 0`; :math:`\epsilon` if
            None.
        eps: added to the root, :math:`\epsilon \ge 0`; the paper has none.
        weight_decay: strength of an L2 penalty, :math:`\lambda \ge 0`; none if None.
        mask: the leaves to penalize; all if None.

    When:
        No rate is to be tuned and full or large batches keep the gradients quiet; the distance
        only grows, and with it the rate.

    References:
        Khaled, Mishchenko & Jin, *DoWG unleashed: an efficient universal parameter-free gradient
        descent method*, NeurIPS 2023, arXiv:2305.16284, Algorithm 1.
    """

    learning_rate: Rate = 1.0
    init_estim_sq_dist: Positive = None
    eps: NonNegative = 1e-4
    weight_decay: Rate = None
    mask: Mask = None
    family = "rate_free"

    def parts(self) -> tuple[Transform, ...]:
        penalty = identity()
        if self.weight_decay is not None:
            penalty = add_decayed_weights(self.weight_decay, self.mask)
        return (
            penalty,
            scale_by_dowg(self.init_estim_sq_dist, self.eps),
            scale_by_learning_rate(self.learning_rate),
        )
