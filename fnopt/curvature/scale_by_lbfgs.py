"""The direction of L-BFGS."""

from __future__ import annotations

from typing import Annotated, Any

import jax
import jax.numpy as jnp
import optax

from fnopt.core import Context, Joint, Static, computing_dtype, divide, global_norm, vdot, zeros
from fnopt.core.checks import positive_integer
from fnopt.core.fields import Field
from fnopt.core.types import Arrays, LeavesUpdate, Rows
from fnopt.curvature.pairs import at_row, curves, history, inverse_hessian_product, store

MemorySize = Annotated[
    int, Field(convert=lambda n: positive_integer("it", n), static=True, shown="int")
]


class scale_by_lbfgs(Joint):
    r"""Multiplies the gradient by an inverse Hessian that fits the last changes of the gradient.

    .. math::
        s_k &= \theta_{k+1} - \theta_k, \quad y_k = g_{k+1} - g_k, \quad
        \rho_k = 1 / \langle y_k, s_k \rangle, \qquad u_k = H_k\,g_k \\
        H_{k+1} &= (I - \rho_k\,s_k\,y_k^\top)\,H_k\,(I - \rho_k\,y_k\,s_k^\top)
            + \rho_k\,s_k\,s_k^\top

    from the last :math:`m` pairs, and :math:`\gamma\,I` to begin with, :math:`\gamma = \langle y, s
    \rangle / \lVert y \rVert^2` of the newest pair. Before there is one :math:`\gamma = \min(1,
    1 / \lVert g \rVert)`.

    A pair is left out, that is :math:`\rho_k = 0`, unless :math:`\langle y_k, s_k \rangle >
    \varepsilon\,\lVert s_k \rVert\,\lVert y_k \rVert` with the rounding error
    :math:`\varepsilon` of the computation, so that :math:`H_k` is positive definite; in optax only
    where it is 0. Where the parameters have not moved since the last update, as after a line search
    that failed, all pairs are forgotten, and the next direction is another one.

    Products are sums in single precision at least, whatever the parameters are stored in. Complex
    parameters count as twice as many real ones. The state is :math:`2\,m + 2` times the parameters.

    Args:
        memory_size: number of pairs, :math:`m \ge 1`.
        scale_init_precond: whether :math:`\gamma` is as above; it is 1 if not.

    References:
        Nocedal & Wright, *Numerical optimization*, 2nd edition, 2006, Algorithms 7.4 and 7.5;
        Liu & Nocedal, *On the limited memory BFGS method for large scale optimization*,
        Mathematical Programming 45, 1989, doi:10.1007/BF01589116.
    """

    memory_size: MemorySize = 10
    scale_init_precond: Static[bool] = True

    State = optax.ScaleByLBFGSState
    shared = ("weights_memory",)
    needs_params = True
    elementwise = keeps_zero = True

    def init_leaf(self, param: jax.Array) -> dict[str, Any]:
        return {
            "params": zeros(param),
            "updates": zeros(param),
            "diff_params_memory": history(param, self.memory_size),
            "diff_updates_memory": history(param, self.memory_size),
        }

    def init_shared(self, params: Arrays) -> dict[str, Any]:
        real = jnp.finfo(computing_dtype(*(param.dtype for param in params))).dtype
        return {"weights_memory": jnp.zeros(self.memory_size, real)}

    def update_leaves(
        self, grads: Arrays, slots: Rows, params: Any, shared: Any, ctx: Context, **extra_args: Any
    ) -> LeavesUpdate:
        size, weights = self.memory_size, shared["weights_memory"]
        count = ctx.t.astype(jnp.int32) - 1  # exact for 2²⁴ updates
        newest = (count - 1) % size
        s = [param - slot.params for param, slot in zip(params, slots, strict=True)]
        y = [grad - slot.updates for grad, slot in zip(grads, slots, strict=True)]
        ys, ss, yy = vdot(y, s), vdot(s, s), vdot(y, y)
        started = count > 0
        curved = started & curves(ys, ss, yy)
        weight = jnp.where(curved, divide(1, ys), jnp.zeros_like(ys))
        weights = jnp.where(ss > 0, weights.at[newest].set(weight), jnp.zeros_like(weights))
        steps = store([slot.diff_params_memory for slot in slots], newest, s, curved)
        changes = store([slot.diff_updates_memory for slot in slots], newest, y, curved)

        scale = jnp.ones_like(ys)
        if self.scale_init_precond:
            scale = jnp.minimum(scale, divide(1, global_norm(grads), 1))
            # Of the newest pair that was not left out.
            ages = (newest - jnp.arange(size)) % size
            row = ages[jnp.argmax(weights[ages] > 0)]
            change = at_row(changes, row)
            fitted = divide(1, weights[row] * vdot(change, change))
            scale = jnp.where(weights[row] > 0, fitted, scale)
        stored = jnp.minimum(count, size)
        directions = inverse_hessian_product(
            grads, steps, changes, weights, newest + 1, stored, scale
        )
        rows = [
            {
                "params": param,
                "updates": grad,
                "diff_params_memory": of_steps,
                "diff_updates_memory": of_changes,
            }
            for param, grad, of_steps, of_changes in zip(params, grads, steps, changes, strict=True)
        ]
        return directions, rows, {"weights_memory": weights}
