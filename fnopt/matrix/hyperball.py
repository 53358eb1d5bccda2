"""Hyperball optimization: MuonH, AdamH and others, which keep the norms of matrices."""

from __future__ import annotations

from typing import Any, ClassVar

from fnopt.core import Inner, Rate, Transform, chain, scale_by_learning_rate
from fnopt.first_order.adam import scale_by_adam
from fnopt.matrix.choice import MatricesField
from fnopt.matrix.keep_norm import keep_norm
from fnopt.matrix.optimizer import MatrixOptimizer
from fnopt.matrix.scale_to_param_norm import scale_to_param_norm


class hyperball(MatrixOptimizer):
    r"""Any direction, with the norms of hidden matrices and of their steps held fixed.

    .. math:: W_t = R\,\frac{V_t}{\lVert V_t \rVert_F}, \qquad
        V_t = W_{t-1} - \eta_t\,R\,\frac{U_t}{\lVert U_t \rVert_F}, \qquad
        R = \lVert W_0 \rVert_F

    with :math:`U` of ``inner``: :class:`scale_to_param_norm` before the learning rate, and
    :class:`keep_norm` after it. The authors' methods by their names are::

        hyperball(scale_by_muon(), 0.02)  # MuonH
        hyperball(scale_by_adam(), 0.005)  # AdamH

    Args:
        inner: the transform that gives the direction, a part as :class:`scale_by_muon` or a chain
            of them; of its length and a weight decay in it nothing remains.
        learning_rate: length of a step relative to the weights, :math:`\eta \ge 0`.
        matrices: which leaves are matrices, and how: see :class:`muon`.
        other: the optimizer of vectors, embeddings and heads; :class:`adamw` at the same rate if
            None, which is often too high a rate.

    When:
        Networks whose matrices are followed by a normalization, so that their norm does not
        matter: one rate then suits many widths and depths. Matrices must not start at 0.

    References:
        Wen, Dang, Lyu, Ma & Liang, *From weight decay to hyperball optimization*, 2025,
        whenwen.github.io/wd_blog/public/hyperball-part-1.html.

    >>> import fnopt, jax.numpy as jnp
    >>> tx = fnopt.hyperball(fnopt.scale_by_adam(), 0.1, other=fnopt.adam(1e-3))
    >>> params = {"kernel": jnp.array([[3.0, 0.0], [0.0, 4.0]]), "bias": jnp.zeros(2)}
    >>> updates, _ = tx.update(params, tx.init(params), params)
    >>> print(f"{jnp.linalg.norm(params['kernel'] + updates['kernel']):.4f}")
    5.0000
    """

    inner: Inner
    learning_rate: Rate
    matrices: MatricesField = None
    other: Inner = None
    family = "matrix"
    example: ClassVar[dict[str, Any]] = {"inner": scale_by_adam()}

    def direction(self) -> tuple[Transform, ...]:
        return (self.inner,)

    def of_matrices(self) -> Transform:
        return chain(
            *self.direction(),
            scale_to_param_norm(self.matrices),
            scale_by_learning_rate(self.learning_rate),
            keep_norm(self.matrices),
        )
