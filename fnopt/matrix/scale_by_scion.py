"""Scion's direction: steepest descent in a norm for each kind of layer."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import jax

from fnopt.core import Decay, DType, NonNegative, Positive, moment, zeros
from fnopt.core.context import Context
from fnopt.core.ranges import NonNegativeInteger
from fnopt.core.types import Arrays, PyTree, Rows
from fnopt.matrix.balls import Ball, Norm, kernel_positions, steepest, vector_ball
from fnopt.matrix.choice import KINDS, MatricesField, Seen
from fnopt.matrix.coefficients import Coefficients
from fnopt.matrix.iterated import Iterated
from fnopt.matrix.rule import MatrixRule


class scale_by_scion(Iterated, MatrixRule):
    r"""The mean of recent gradients, replaced by the steepest direction in a norm for its layer.

    .. math:: M_t = \beta\,M_{t-1} + (1 - \beta)\,G_t, \qquad
        u_t = \rho\,\operatorname*{argmax}_{\lVert U \rVert \le 1}\ \langle M_t, U \rangle

    For a matrix of :math:`m` outputs and :math:`n` inputs, with the singular value decomposition
    :math:`M = U \Sigma V^*`, the argmax is

    ============== ====================================== =====================================
    norm           is                                     argmax
    ============== ====================================== =====================================
    ``"spectral"`` :math:`\sqrt{n/m}\,\sigma_{\max}`      :math:`\sqrt{m/n}\,U V^*`
    ``"column"``   the largest root mean square of a      each column over its root mean square
                   column
    ``"row"``      :math:`\sqrt n` times the length of    each row over :math:`\sqrt n` times its
                   the longest row                        length
    ``"largest"``  the largest magnitude                  :math:`\operatorname{sign}(M)`
    ``"sign"``     :math:`n` times the largest magnitude  :math:`\operatorname{sign}(M) / n`
    ============== ====================================== =====================================

    Hidden matrices have the spectral norm, with :math:`U V^*` by the Newton-Schulz iteration. A
    vector, or another leaf that is no matrix, is divided by its root mean square: it is a matrix
    with one column. A convolution with :math:`k` positions in its kernel is one matrix of all its
    inputs, and divided by :math:`\sqrt k` once more, so that its size does not grow with them.

    Args:
        beta: decay of the mean, :math:`\beta \in [0, 1)`; the authors' ``momentum`` is
            :math:`1 - \beta`.
        radius: radius :math:`\rho > 0` for hidden layers and vectors.
        embedding_radius: radius for embeddings, above 0.
        head_radius: radius for the last layer, above 0.
        embedding_norm: the norm for embeddings, whose columns are those of the tokens.
        head_norm: the norm for the last layer.
        ns_coeffs: coefficients of the iteration; see :class:`scale_by_muon`.
        ns_steps: number of iterations, an integer at least 0.
        eps: added to norms that are divided by, at least 0.
        mu_dtype: dtype of the mean; the parameter's if None.
        matrices: what leaves are, and which axes are outputs and inputs: pairs of a pattern of
            paths and words, as ``("embed", "head out in")``; by name and shape if None.
        ns_dtype: dtype of the iteration, such as bfloat16; float32, or float64 for float64 leaves,
            if None.

    References:
        Pethick et al., *Training deep learning models with norm-constrained LMOs*, ICML 2025,
        arXiv:2502.07529. The names of norms in the authors' program: ``Spectral`` and
        ``SpectralConv``, ``ColNorm``, ``RowNorm``, ``Sign(normalized=False)``, ``Sign``,
        ``BiasRMS``. It iterates in bfloat16, with 1e-7 for ``eps`` there.
    """

    beta: Decay = 0.9
    radius: Positive = 50.0
    embedding_radius: Positive = 50.0
    head_radius: Positive = 3000.0
    _: dataclasses.KW_ONLY
    embedding_norm: Norm = "largest"
    head_norm: Norm = "sign"
    ns_coeffs: Coefficients = "jordan"
    ns_steps: NonNegativeInteger = 5
    eps: NonNegative = 1e-8
    mu_dtype: DType = None
    matrices: MatricesField = None
    ns_dtype: DType = None
    family = "parts"

    keeps_zero = True
    like_params = ("mu",)
    takes = KINDS

    def init_matrices(self, param: jax.Array) -> dict[str, jax.Array]:
        return {"mu": zeros(param, self.mu_dtype)}

    def init_leaf(self, param: jax.Array) -> dict[str, Any]:
        # For the names of the slots alone; a scalar has no axis for outputs.
        return self._init_seen(param, vector_ball(param.shape).view)

    def _chosen(self, tree: PyTree, size: int) -> list[Any]:
        return [self._ball(seen) for seen in self.seen(tree)]

    def _ball(self, seen: Seen) -> Ball:
        if seen.view is None:
            return vector_ball(seen.shape)
        if seen.kind == "hidden":
            return Ball(seen.view, "spectral", "radius", kernel_positions(seen))
        named = getattr(self, f"{seen.kind}_norm"), f"{seen.kind}_radius"
        return Ball(seen.view, *named, 1)

    def _step(
        self, leaves: Any, shared: Any, count: Any, next_count: Any, extra_args: dict[str, Any]
    ) -> Any:
        extra_args = {**extra_args, "balls": leaves.chosen}
        return super()._step(leaves, shared, count, next_count, extra_args)

    def update_matrices(
        self,
        grads: Arrays,
        slots: Rows,
        params: Any,
        ctx: Context,
        *,
        balls: list[Ball],
        **extra_args: Any,
    ) -> tuple[Arrays, list[dict[str, Any]]]:
        means = [moment(g, s.mu, self.beta) for g, s in zip(grads, slots, strict=True)]
        spectral = [i for i, ball in enumerate(balls) if ball.norm == "spectral"]
        orthogonal = self.orthogonalized([means[i] for i in spectral])
        units = means[:]
        for i, factor in zip(spectral, orthogonal, strict=True):
            _, m, n = factor.shape
            units[i] = math.sqrt(m / (n * balls[i].positions)) * factor
        for i, ball in enumerate(balls):
            if ball.norm != "spectral":
                units[i] = steepest(means[i], ball.norm, self.eps)
        directions = [getattr(self, b.radius) * unit for b, unit in zip(balls, units, strict=True)]
        return directions, [{"mu": mean} for mean in means]
