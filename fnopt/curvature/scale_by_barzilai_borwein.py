"""The step of Barzilai and Borwein."""

from __future__ import annotations

from typing import Annotated, Any

import jax
import jax.numpy as jnp

from fnopt.core import Context, Joint, Positive, global_norm, real_number, vdot, zeros
from fnopt.core.fields import Field
from fnopt.core.moments import computing_dtype
from fnopt.core.norms import over_norm
from fnopt.core.types import Arrays, LeavesUpdate, Rows

Variant = Annotated[Any, Field(static=True, choices=("long", "short"))]
"""Which of the two formulas gives the step."""


class scale_by_barzilai_borwein(Joint):
    r"""Multiplies by the step that fits the curvature along the last step.

    .. math::
        s_t = \theta_{t-1} - \theta_{t-2}, \quad y_t = g_t - g_{t-1}, \qquad
        \alpha_t^{\text{long}} = \frac{\lVert s_t \rVert^2}{\langle s_t, y_t \rangle}, \quad
        \alpha_t^{\text{short}} = \frac{\langle s_t, y_t \rangle}{\lVert y_t \rVert^2}, \qquad
        u_t = \alpha_t\,g_t

    The first step is :math:`\min(1, 1 / \lVert g_1 \rVert)`. Along negative curvature,
    :math:`\langle s_t, y_t \rangle \le 0`, it is :math:`\lVert s_t \rVert / \lVert y_t \rVert`, the
    geometric mean of both formulas' magnitudes; where nothing has moved, the last one. The state is
    twice the parameters, in single precision at least.

    Args:
        variant: ``"long"``, the first formula, or ``"short"``, the second.
        min_step: smallest step, above 0.
        max_step: largest step.
    """

    variant: Variant = "long"
    min_step: Positive = 1e-10
    max_step: Positive = 1e10

    counts = True
    shared = ("step",)
    needs_params = True
    elementwise = keeps_zero = True

    def init_shared(self, params: Arrays) -> dict[str, Any]:
        return {"step": real_number(1.0, params)}

    def init_leaf(self, param: jax.Array) -> dict[str, jax.Array]:
        wide = computing_dtype(param.dtype)
        return {"last_param": zeros(param, wide), "last_grad": zeros(param, wide)}

    def update_leaves(
        self, grads: Arrays, slots: Rows, params: Any, shared: Any, ctx: Context, **extra_args: Any
    ) -> LeavesUpdate:
        moved = [p - s.last_param for p, s in zip(params, slots, strict=True)]
        change = [g - s.last_grad for g, s in zip(grads, slots, strict=True)]
        length, change_length = global_norm(moved), global_norm(change)
        # By norms and the angle between the two, since squares may be too large or too small.
        units = (
            [over_norm(x, size) for x in xs]
            for xs, size in ((moved, length), (change, change_length))
        )
        cosine = vdot(*units)
        exists = (length > 0) & (change_length > 0)
        step = length / jnp.where(exists, change_length, jnp.ones_like(change_length))
        curved = cosine > 0
        divisor = jnp.where(curved, cosine, jnp.ones_like(cosine))
        step = step / divisor if self.variant == "long" else step * divisor
        step = jnp.clip(step, self.min_step, self.max_step)
        size = global_norm(grads)
        first = jnp.where(size > 1, 1 / jnp.where(size > 1, size, jnp.ones_like(size)), 1.0)
        step = jnp.where(ctx.t == 1, first, jnp.where(exists, step, shared["step"]))
        rows = [{"last_param": p, "last_grad": g} for p, g in zip(params, grads, strict=True)]
        return [step * g for g in grads], rows, {"step": step}
