"""Directions of matrices as long as the matrices."""

from __future__ import annotations

from typing import Any

import jax

from fnopt.core import divide, norm
from fnopt.core.context import Context
from fnopt.core.types import Arrays, Rows
from fnopt.matrix.choice import MatricesField
from fnopt.matrix.rule import MatrixRule


class scale_to_param_norm(MatrixRule):
    r"""Gives the direction of a matrix the norm of its weights.

    .. math:: U'_t = \frac{\lVert W_{t-1} \rVert_F}{\lVert U_t \rVert_F}\,U_t

    A learning rate after it is the length of a step relative to the weights. Every matrix of a
    stacked leaf has a norm of its own. Weights that are 0 get no step, and a direction that is 0
    stays so. Leaves that are no hidden matrices keep their direction.

    :class:`scale_by_trust_ratio` is the same of whole leaves, which leaves a direction as it is
    where the weights are 0.

    Args:
        matrices: which leaves are matrices, and how: see :class:`muon`.

    References:
        Wen, Dang, Lyu, Ma & Liang, *From weight decay to hyperball optimization*, 2025,
        whenwen.github.io/wd_blog/public/hyperball-part-1.html. Their programs divide by at least
        1e-10.

    >>> import fnopt, jax.numpy as jnp
    >>> tx, params = fnopt.scale_to_param_norm(), jnp.array([[3.0, 0.0], [0.0, 4.0]])
    >>> tx.update(jnp.array([[2.0, 0.0], [0.0, 0.0]]), tx.init(params), params)[0]
    Array([[5., 0.],
           [0., 0.]], dtype=float32)
    """

    matrices: MatricesField = None
    family = "parts"

    needs_params = True
    keeps_zero = True
    either_way = True

    def update_matrices(
        self, grads: Arrays, slots: Rows, params: Any, ctx: Context, **extra_args: Any
    ) -> tuple[Arrays, list[dict[str, Any]]]:
        def length(x: jax.Array) -> jax.Array:
            return norm(x, (1, 2), keepdims=True)

        pairs = zip(grads, params, strict=True)
        return [divide(u, length(u)) * length(w) for u, w in pairs], [{} for _ in grads]
