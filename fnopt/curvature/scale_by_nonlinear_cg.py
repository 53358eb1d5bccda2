"""Directions of nonlinear conjugate gradients."""

from __future__ import annotations

from typing import Annotated, Any

import jax
import jax.numpy as jnp

from fnopt.core import Context, Joint, Positive, divide, vdot, zeros
from fnopt.core.fields import Field
from fnopt.core.moments import computing_dtype
from fnopt.core.types import Arrays, LeavesUpdate, Rows

Variant = Annotated[
    Any,
    Field(
        static=True,
        choices=(
            "polak_ribiere",
            "hager_zhang",
            "fletcher_reeves",
            "hestenes_stiefel",
            "dai_yuan",
        ),
    ),
]
"""How much of the last direction is kept."""


class scale_by_nonlinear_cg(Joint):
    r"""Adds a multiple of the last direction to the gradient, as conjugate gradients do.

    .. math:: u_t = g_t + \beta_t\,u_{t-1}, \qquad y_t = g_t - g_{t-1}

    where :math:`\beta_t` is one of

    .. math::
        \text{Polak–Ribière, positive:} \quad &
            \max(\langle g_t, y_t \rangle / \lVert g_{t-1} \rVert^2,\, 0) \\
        \text{Hager–Zhang:} \quad & \max\Bigl(\Bigl\langle y_t - 2\,d\,
            \frac{\lVert y_t \rVert^2}{\langle d, y_t \rangle},\, g_t \Bigr\rangle
            \Big/ \langle d, y_t \rangle,\; \frac{-1}{\lVert d \rVert
            \min(\eta, \lVert g_{t-1} \rVert)}\Bigr), \quad d = -u_{t-1} \\
        \text{Fletcher–Reeves:} \quad & \lVert g_t \rVert^2 / \lVert g_{t-1} \rVert^2 \\
        \text{Hestenes–Stiefel, positive:} \quad &
            \max(\langle g_t, y_t \rangle / \langle d, y_t \rangle,\, 0) \\
        \text{Dai–Yuan:} \quad & \lVert g_t \rVert^2 / \langle d, y_t \rangle

    It starts again with :math:`u_t = g_t` where that is no direction of descent, :math:`\langle
    u_t, g_t \rangle \le 0`. Complex parameters count as twice as many real ones. The state is twice
    the parameters, in single precision at least.

    Args:
        variant: the formula of :math:`\beta_t`: ``"polak_ribiere"``, ``"hager_zhang"``,
            ``"fletcher_reeves"``, ``"hestenes_stiefel"`` or ``"dai_yuan"``.
        eta: truncation :math:`\eta > 0` of Hager and Zhang's formula; the others do not use it.
    """

    variant: Variant = "polak_ribiere"
    eta: Positive = 0.01

    elementwise = keeps_zero = True

    def init_leaf(self, param: jax.Array) -> dict[str, jax.Array]:
        wide = computing_dtype(param.dtype)
        return {"last_grad": zeros(param, wide), "last_update": zeros(param, wide)}

    def update_leaves(
        self, grads: Arrays, slots: Rows, params: Any, shared: Any, ctx: Context, **extra_args: Any
    ) -> LeavesUpdate:
        last = [s.last_update for s in slots]
        beta = self._beta(grads, [s.last_grad for s in slots], last)
        updates = [g + beta * u for g, u in zip(grads, last, strict=True)]
        # Of the first update, too: its last direction is 0.
        descends = jnp.isfinite(beta) & (vdot(updates, grads) > 0)
        updates = [jnp.where(descends, u, g) for u, g in zip(updates, grads, strict=True)]
        rows = [{"last_grad": g, "last_update": u} for g, u in zip(grads, updates, strict=True)]
        return updates, rows, {}

    def _beta(self, grads: Arrays, last_grads: Arrays, last_updates: Arrays) -> jax.Array:
        change = [g - old for g, old in zip(grads, last_grads, strict=True)]
        square, last_square = vdot(grads, grads), vdot(last_grads, last_grads)
        along = -vdot(last_updates, change)
        if self.variant == "fletcher_reeves":
            return divide(square, last_square)
        if self.variant == "dai_yuan":
            return divide(square, along)
        if self.variant == "polak_ribiere":
            return jnp.maximum(divide(vdot(grads, change), last_square), 0)
        if self.variant == "hestenes_stiefel":
            return jnp.maximum(divide(vdot(grads, change), along), 0)
        steep = 2 * divide(vdot(change, change), along) * vdot(last_updates, grads)
        beta = divide(vdot(change, grads) + steep, along)
        length = jnp.sqrt(vdot(last_updates, last_updates))
        return jnp.maximum(beta, -divide(1, length * jnp.minimum(self.eta, jnp.sqrt(last_square))))
