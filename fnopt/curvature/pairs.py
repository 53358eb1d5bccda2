"""The memory of quasi-Newton methods: pairs of a step and of the change of the gradient by it."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from fnopt.core import vdot, zeros
from fnopt.core.moments import cast


def history(param: jax.Array, rows: int, dtype: Any = None) -> jax.Array:
    """Rows of arrays like a parameter, sharded as it is.

    Args:
        param: the parameter.
        rows: the number of rows.
        dtype: the dtype; the parameter's if None.
    """
    return jnp.broadcast_to(zeros(param, dtype), (rows, *param.shape))


def store(
    histories: list[jax.Array], row: jax.Array, new: list[jax.Array], stored: jax.Array
) -> list[jax.Array]:
    """Histories with one row written, where ``stored`` is true.

    Args:
        histories: one array of rows for each leaf.
        row: the row to write.
        new: what to write, one array for each leaf.
        stored: whether to write.
    """
    # A row is chosen, not a history, which a loop then changes in place.
    return [
        jax.lax.dynamic_update_index_in_dim(leaf, jnp.where(stored, x, old), row, 0)
        for leaf, x, old in zip(histories, new, at_row(histories, row), strict=True)
    ]


def at_row(histories: list[jax.Array], row: Any) -> list[jax.Array]:
    """One row of every history."""
    return [jax.lax.dynamic_index_in_dim(leaf, row, keepdims=False) for leaf in histories]


def curves(ys: jax.Array, ss: jax.Array, yy: jax.Array) -> jax.Array:
    r"""Whether a pair has positive curvature, more than rounding leaves of none.

    Args:
        ys: the product :math:`\langle y, s \rangle`.
        ss: the squared norm of :math:`s`.
        yy: the squared norm of :math:`y`.
    """
    least = jnp.finfo(ys.dtype).eps * jnp.sqrt(ss) * jnp.sqrt(yy)
    return (ys > least) & jnp.isfinite(1 / ys) & jnp.isfinite(yy)


def inverse_hessian_product(
    vector: list[jax.Array],
    steps: list[jax.Array],
    changes: list[jax.Array],
    weights: jax.Array,
    row: jax.Array,
    stored: jax.Array,
    scale: jax.Array,
) -> list[jax.Array]:
    r"""The product of L-BFGS's inverse Hessian with a vector, by two loops over the pairs.

    .. math::
        \text{newest first:} \quad
        \alpha_i &= \rho_i\,\langle s_i, q \rangle, & q &\leftarrow q - \alpha_i\,y_i \\
        q \leftarrow \gamma\,q; \quad \text{oldest first:} \quad
        \beta_i &= \rho_i\,\langle y_i, q \rangle, & q &\leftarrow q + (\alpha_i - \beta_i)\,s_i

    Args:
        vector: a list of arrays, :math:`q` at first.
        steps: their histories of steps :math:`s`.
        changes: their histories of changes :math:`y` of the gradient.
        weights: :math:`\rho_i = 1 / \langle y_i, s_i \rangle` of each row; 0 for no pair.
        row: the row after that of the newest pair.
        stored: the number of rows, from that backwards, that hold pairs.
        scale: the matrix to begin with as a multiple of the identity, :math:`\gamma`.

    References:
        Nocedal & Wright, *Numerical optimization*, 2nd edition, 2006, Algorithm 7.4.
    """
    size = weights.size

    def back(k: Any, carry: Any) -> Any:
        q, alphas = carry
        i = (row - 1 - k) % size
        alpha = vdot(at_row(steps, i), q) * weights[i]
        return along(q, -alpha, at_row(changes, i)), alphas.at[i].set(alpha)

    def forth(k: Any, q: Any) -> Any:
        i = (row - stored + k) % size
        beta = vdot(at_row(changes, i), q) * weights[i]
        return along(q, alphas[i] - beta, at_row(steps, i))

    q, alphas = jax.lax.fori_loop(0, stored, back, (vector, jnp.zeros_like(weights)))
    return jax.lax.fori_loop(0, stored, forth, along(None, scale, q))


def along(position: Any, t: jax.Array, d: list[jax.Array]) -> list[jax.Array]:
    r"""The point :math:`\theta + t\,d`, or the step alone."""
    steps = [cast(t, x.dtype) * x for x in d]
    return (
        steps if position is None else [x + step for x, step in zip(position, steps, strict=True)]
    )
