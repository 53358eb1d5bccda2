"""The direction of BFGS."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.core import Tracer

from fnopt.core import Context, Joint, Static, computing_dtype, divide, global_norm, zeros
from fnopt.core.types import Arrays, LeavesUpdate, Rows, Updates
from fnopt.curvature.pairs import curves
from fnopt.curvature.vectors import ravel, refuse_many, unravel


class ScaleByBFGSState(NamedTuple):
    """The state of BFGS.

    Attributes:
        count: number of updates.
        params: the parameters of the last update.
        updates: the gradient of the last update.
        inverse_hessian: the inverse of the approximate Hessian, square; its rows are all elements
            of the parameters, leaf after leaf, real parts before imaginary ones.
        num_pairs: number of pairs that it fits since it was the identity.
    """

    count: jax.Array
    params: Updates
    updates: Updates
    inverse_hessian: jax.Array
    num_pairs: jax.Array


class scale_by_bfgs(Joint):
    r"""Multiplies the gradient by an inverse Hessian that fits the changes of the gradient.

    .. math::
        s_k &= \theta_{k+1} - \theta_k, \quad y_k = g_{k+1} - g_k, \quad
        \rho_k = 1 / \langle y_k, s_k \rangle, \qquad u_k = H_k\,g_k \\
        H_{k+1} &= (I - \rho_k\,s_k\,y_k^\top)\,H_k\,(I - \rho_k\,y_k\,s_k^\top)
            + \rho_k\,s_k\,s_k^\top

    Before the first pair :math:`H = \min(1, 1 / \lVert g \rVert)\,I`, and it changes from
    :math:`\gamma\,I`, :math:`\gamma = \langle y, s \rangle / \lVert y \rVert^2`.

    A pair is left out unless :math:`\langle y_k, s_k \rangle > \varepsilon\,\lVert s_k \rVert\,
    \lVert y_k \rVert` with the rounding error :math:`\varepsilon` of the computation, so that
    :math:`H_k` is positive definite. Where the parameters have not moved since the last update, as
    after a line search that failed, the matrix begins again.

    The matrix has one row and column for each element of the parameters, two for a complex one, in
    single precision at least: :math:`n^2` numbers.

    Args:
        scale_init_precond: whether the matrix begins as above; with the identity if not.

    References:
        Nocedal & Wright, *Numerical optimization*, 2nd edition, 2006, eq. 6.17 and 6.20.
    """

    scale_init_precond: Static[bool] = True

    State = ScaleByBFGSState
    shared = ("inverse_hessian", "num_pairs")
    needs_params = True
    elementwise = keeps_zero = True

    def init_leaf(self, param: jax.Array) -> dict[str, Any]:
        return {"params": zeros(param), "updates": zeros(param)}

    def init_shared(self, params: Arrays) -> dict[str, Any]:
        real = jnp.finfo(computing_dtype(*(param.dtype for param in params))).dtype
        size = sum(param.size * (1 + jnp.iscomplexobj(param)) for param in params)
        if not any(isinstance(param, Tracer) for param in params):  # shapes alone take no memory
            refuse_many(size)
        return {"inverse_hessian": jnp.eye(size, dtype=real), "num_pairs": jnp.zeros((), jnp.int32)}

    def update_leaves(
        self, grads: Arrays, slots: Rows, params: Any, shared: Any, ctx: Context, **extra_args: Any
    ) -> LeavesUpdate:
        inverse, pairs = shared["inverse_hessian"], shared["num_pairs"]
        refuse_many(len(inverse))
        grad = ravel(grads)
        s = ravel(params) - ravel([slot.params for slot in slots])
        y = grad - ravel([slot.updates for slot in slots])
        ys, ss, yy = _dot(y, s), _dot(s, s), _dot(y, y)
        curved = (ctx.t > 1) & curves(ys, ss, yy)
        identity = jnp.eye(len(grad), dtype=inverse.dtype)
        stays = (ctx.t == 1) | (ss > 0)
        inverse, pairs = jnp.where(stays, inverse, identity), jnp.where(stays, pairs, 0)
        if self.scale_init_precond:
            inverse = jnp.where(curved & (pairs == 0), divide(ys, yy) * identity, inverse)
        rho, y_changed = divide(1, ys), _dot(inverse, y)
        outer = jnp.outer(y_changed, s)
        change = (1 + rho * _dot(y, y_changed)) * rho * jnp.outer(s, s) - rho * (outer + outer.T)
        inverse = jnp.where(curved, inverse + change, inverse)
        pairs = pairs + curved.astype(pairs.dtype)
        direction = _dot(inverse, grad)
        if self.scale_init_precond:
            short = jnp.minimum(1, divide(1, global_norm(grads), 1))
            direction = jnp.where(pairs == 0, short, jnp.ones_like(short)) * direction
        rows = [{"params": p, "updates": g} for p, g in zip(params, grads, strict=True)]
        return unravel(direction, grads), rows, {"inverse_hessian": inverse, "num_pairs": pairs}


def _dot(x: jax.Array, y: jax.Array) -> jax.Array:
    return jnp.dot(x, y, precision="highest")
