"""Shampoo's direction."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import jax
import jax.numpy as jnp

from fnopt.core import NonNegative, Static, bias_correction
from fnopt.core.context import Context
from fnopt.core.moments import computing_dtype
from fnopt.core.ranges import Fraction, PositiveInteger, PositiveIntegerOrNone
from fnopt.core.types import Arrays, Numeric, Rows
from fnopt.matrix import sides
from fnopt.matrix.blocks import Blocks, layout
from fnopt.matrix.choice import MatricesField
from fnopt.matrix.inverse_root import RootMethod, inverse_root
from fnopt.matrix.refresh import refreshed_by_shape
from fnopt.matrix.rule import MatrixRule


class scale_by_shampoo(MatrixRule):
    r"""Preconditions both sides of gradients of matrices, by roots of their mean products.

    .. math::
        L_t &= \beta\,L_{t-1} + (1 - \beta)\,G_t G_t^T, \qquad
        R_t = \beta\,R_{t-1} + (1 - \beta)\,G_t^T G_t \\
        U_t &= \hat L^{-1/p}\,G_t\,\hat R^{-1/p}, \qquad
        \hat L = \tilde L + \epsilon\,\lambda_{\max}(\tilde L)\,I, \quad
        \tilde L = L_t / (1 - \beta^t)

    for each matrix :math:`G`, outputs by inputs, with :math:`p = 4`, and 2 where one side alone is
    preconditioned. For :math:`\beta = 1` the statistics are sums. The roots are computed at the
    first update and then every few, a share of the matrices at a time; until a statistic is not 0
    its root is the identity.

    Gupta et al. have sums and an absolute ridge, :math:`L_0 = \epsilon I`. The ridge is relative as
    in Anil et al., the correction for the start at 0 is Shi et al.'s. Their matrices with more than
    two axes have a statistic for each; here each has two sides. A side that is too long for one
    block is cut into equal parts, where their last part is shorter. In float32 elements
    beyond about 1e15 count as that in the statistics, so that these are finite.

    With ``precondition_frequency`` 1 or ``staggered=False`` a stack of matrices is treated as its
    matrices are one by one; otherwise the updates at which a root is computed depend on the others.

    Args:
        b2: decay of the statistics, :math:`\beta \in [0, 1]`; 1 for sums.
        matrix_eps: ridge relative to the largest eigenvalue, :math:`\epsilon \ge 0`.
        precondition_frequency: number of updates between two computations of a root, at least 1.
        block_size: longest side of a block, at least 1; no blocks if None.
        max_dim: longest side, in all its blocks, that is preconditioned, at least 1; every if None.
        matrices: which leaves are matrices, and how: pairs of a pattern of paths and words for the
            axes; by name and shape if None.
        one_sided: whether only the shorter side is preconditioned, the outputs' of a square.
        exponent_override: another :math:`p`, an integer at least 1; the above if None.
        method: ``"eigh"`` or ``"newton"``; see :func:`fnopt.matrix.inverse_root.inverse_root`.
        staggered: whether the roots are computed in turns, so that no update takes much longer
            than others; otherwise all at the same one.

    Raises:
        TypeError, ValueError: an argument is no integer, or below 1.

    References:
        Gupta, Koren & Singer, *Shampoo: preconditioned stochastic tensor optimization*, ICML 2018,
        arXiv:1802.09568, Algorithm 1; Anil et al., *Scalable second order optimization for deep
        learning*, 2020, arXiv:2002.09018; Shi et al., *A distributed data-parallel PyTorch
        implementation of the distributed Shampoo optimizer*, 2023, arXiv:2309.06497, Algorithm 2.
    """

    b2: Fraction = 0.999
    matrix_eps: NonNegative = 1e-6
    precondition_frequency: PositiveInteger = 10
    block_size: PositiveIntegerOrNone = 1024
    max_dim: PositiveIntegerOrNone = 8192
    matrices: MatricesField = None
    _: dataclasses.KW_ONLY
    one_sided: Static[bool] = False
    exponent_override: PositiveIntegerOrNone = None
    method: RootMethod = "eigh"
    staggered: Static[bool] = True
    family = "parts"

    counts = True
    keeps_zero = True

    @property
    def leafwise(self) -> bool:  # pyright: ignore[reportIncompatibleVariableOverride]
        # Whose turn it is depends on the other leaves.
        return not self.staggered or self.precondition_frequency == 1

    def init_matrices(self, param: jax.Array) -> dict[str, jax.Array]:
        blocks, sided = self._layout(param)
        number, dtype = len(param) * math.prod(blocks.parts), computing_dtype(param.dtype)
        slots = {}
        for side, size, has_one in zip(("left", "right"), blocks.block, sided, strict=True):
            shape = (number, size, size) if has_one else (number, 0, 0)
            slots[side] = jnp.zeros(shape, dtype)
        return slots | {f"{name}_root": sides.identities(slot) for name, slot in slots.items()}

    def update_matrices(
        self, grads: Arrays, slots: Rows, params: Any, ctx: Context, **extra_args: Any
    ) -> tuple[Arrays, list[dict[str, Any]]]:
        layouts = [self._layout(grad) for grad in grads]
        cut = [blocks.cut(grad) for (blocks, _), grad in zip(layouts, grads, strict=True)]
        bounded = [sides.bounded(x) for x in cut]
        lefts = sides.averages(sides.gram, bounded, [row.left for row in slots], self.b2)
        rights = sides.averages(sides.right_gram, bounded, [row.right for row in slots], self.b2)
        powers = [self.exponent_override or 2 * max(sum(own), 1) for _, own in layouts]
        old = [*(row.left_root for row in slots), *(row.right_root for row in slots)]
        roots = self._roots([*lefts, *rights], old, powers * 2, ctx.t)
        left_roots, right_roots = roots[: len(grads)], roots[len(grads) :]
        directions = sides.preconditioned(cut, left_roots, right_roots)
        rows = zip(lefts, rights, left_roots, right_roots, strict=True)
        names = "left", "right", "left_root", "right_root"
        return [blocks.join(x) for (blocks, _), x in zip(layouts, directions, strict=True)], [
            dict(zip(names, row, strict=True)) for row in rows
        ]

    def _roots(self, statistics: Arrays, old: Arrays, powers: list[int], t: Numeric) -> Arrays:
        """The roots, of which a share is computed again."""
        divisor = jnp.where(self.b2 < 1, bias_correction(self.b2, t), 1.0)
        roots, new = list(old), []
        for p in sorted(set(powers)):
            own = [i for i, x in enumerate(statistics) if powers[i] == p and x.size]

            def compute(statistic: jax.Array, old: jax.Array, p: int = p) -> jax.Array:
                return inverse_root(statistic / divisor, p, self.matrix_eps, self.method, old)

            arguments = [old[i] for i in own], ([statistics[i] for i in own],)
            options = {"staggered": self.staggered, "done": new}
            new = refreshed_by_shape(compute, *arguments, t, self.precondition_frequency, **options)
            for i, x in zip(own, new, strict=True):
                roots[i] = x
        return roots

    def _layout(self, matrices: jax.Array) -> tuple[Blocks, tuple[bool, bool]]:
        """The blocks of a leaf's matrices, and which of their sides are preconditioned."""
        return layout(matrices.shape[1:], self.block_size, self.max_dim, self.one_sided)
