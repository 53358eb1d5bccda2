"""Steps of matrices after which their norms are the first ones."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from fnopt.core import divide, norm
from fnopt.core.context import Context
from fnopt.core.types import Arrays, Rows
from fnopt.matrix.choice import MatricesField
from fnopt.matrix.rule import MatrixRule


class keep_norm(MatrixRule):
    r"""Turns a step of a matrix into one to the nearest point of the same norm.

    .. math:: \Delta W_t = R\,\frac{W_{t-1} + \Delta_t}{\lVert W_{t-1} + \Delta_t \rVert_F}
        - W_{t-1}, \qquad R = \lVert W_0 \rVert_F

    for a step :math:`\Delta`: the last part of a chain, after the learning rate. Every matrix of a
    stacked leaf has a norm of its own. A matrix without a step rests, and one that starts at 0
    stays there. Leaves that are no hidden matrices get their steps as they are.

    Args:
        matrices: which leaves are matrices, and how: see :class:`muon`.

    When:
        Instead of weight decay, for matrices that a normalization follows; see :class:`hyperball`.

    References:
        Wen, Dang, Lyu, Ma & Liang, *From weight decay to hyperball optimization*, 2025,
        whenwen.github.io/wd_blog/public/hyperball-part-1.html. Their programs take the norm before
        each step for :math:`R`, which rounding may move.

    >>> import fnopt, jax.numpy as jnp
    >>> tx, params = fnopt.keep_norm(), jnp.array([[3.0, 0.0], [0.0, 4.0]])
    >>> update, _ = tx.update(params, tx.init(params), params)
    >>> float(jnp.linalg.norm(params + update))
    5.0
    """

    matrices: MatricesField = None
    family = "parts"

    needs_params = True
    keeps_zero = True
    either_way = True

    def init_matrices(self, param: jax.Array) -> dict[str, jax.Array]:
        return {"radius": norm(param, (1, 2))}

    def update_matrices(
        self, grads: Arrays, slots: Rows, params: Any, ctx: Context, **extra_args: Any
    ) -> tuple[Arrays, list[dict[str, Any]]]:
        kept = [
            _kept(step, weights, slot.radius[:, None, None])
            for step, weights, slot in zip(grads, params, slots, strict=True)
        ]
        return kept, [{"radius": slot.radius} for slot in slots]


def _kept(step: jax.Array, weights: jax.Array, radius: jax.Array) -> jax.Array:
    end = weights + step
    moves = jnp.any(step != 0, axis=(1, 2), keepdims=True)
    change = divide(end, norm(end, (1, 2), keepdims=True)) * radius - weights
    return jnp.where(moves, change, jnp.zeros_like(change))
