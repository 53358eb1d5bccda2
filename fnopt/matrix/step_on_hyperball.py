"""Steps of matrices whose norm stays as it is."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from fnopt.core import Rate, divide, norm
from fnopt.core.context import Context
from fnopt.core.types import Arrays, Rows
from fnopt.matrix.choice import MatricesField
from fnopt.matrix.rule import MatrixRule


class step_on_hyperball(MatrixRule):
    r"""Makes a step of a direction that leaves every matrix its first norm.

    .. math:: W_t = R\,\frac{V_t}{\lVert V_t \rVert_F}, \qquad
        V_t = W_{t-1} - \eta_t\,R\,\frac{U_t}{\lVert U_t \rVert_F}, \qquad
        R = \lVert W_0 \rVert_F

    for a direction :math:`U`; the last part of a chain, in place of
    :class:`scale_by_learning_rate`. A step has the length :math:`\eta` times that of the weights,
    whatever their size; weight decay has no effect. A matrix whose direction is 0 rests, and one
    that starts at 0 stays there. Every matrix of a stacked leaf has a norm of its own. Leaves that
    are no matrices keep their direction: see :class:`hyperball` for another optimizer for them.

    Norms of 0 are guarded as such; the authors' programs divide by at least 1e-10, and most take
    the norm before the step for :math:`R`.

    Args:
        learning_rate: length of a step relative to the weights, :math:`\eta \ge 0`.
        matrices: which leaves are matrices, and how: see :class:`muon`.

    References:
        Wen, Dang, Lyu, Ma & Liang, *From weight decay to hyperball optimization*, 2025,
        whenwen.github.io/wd_blog/public/hyperball-part-1.html.
    """

    learning_rate: Rate
    matrices: MatricesField = None
    family = "parts"

    needs_params = True
    keeps_zero = True

    def init_matrices(self, param: jax.Array) -> dict[str, jax.Array]:
        return {"radius": norm(param, (1, 2))}

    def update_matrices(
        self, grads: Arrays, slots: Rows, params: Any, ctx: Context, **extra_args: Any
    ) -> tuple[Arrays, list[dict[str, Any]]]:
        trios = zip(grads, slots, params, strict=True)
        steps = [self._step(u, s.radius[:, None, None], w) for u, s, w in trios]
        return steps, [{"radius": s.radius} for s in slots]

    def _step(self, direction: jax.Array, radius: jax.Array, weights: jax.Array) -> jax.Array:
        size = norm(direction, (1, 2), keepdims=True)
        ahead = weights - self.learning_rate * radius * divide(direction, size)
        on_sphere = divide(ahead, norm(ahead, (1, 2), keepdims=True)) * radius
        return jnp.where(size == 0, jnp.zeros_like(weights), on_sphere - weights)
