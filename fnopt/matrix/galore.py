"""GaLore."""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar

from fnopt.core import (
    Composed,
    Inner,
    Mask,
    Rate,
    Scalar,
    Static,
    Transform,
    add_decayed_weights,
    scale_by_learning_rate,
)
from fnopt.core.ranges import AtLeastOne
from fnopt.matrix.scale_by_galore import scale_by_galore
from fnopt.matrix.subspace import Axes


class galore(Composed):
    r"""Adam for matrices within a subspace of low rank, which saves the memory of its slots.

    .. math:: \Delta\theta_t = -\eta_t\,(u_t + \lambda\,\theta_{t-1})

    with :math:`u_t` of :class:`scale_by_galore`; for vectors it is AdamW's. The authors' program
    decays after the step, :math:`\theta_t = (1 - \eta_t\,\lambda)(\theta_{t-1} - \eta_t\,u_t)`.

    Args:
        learning_rate: learning rate :math:`\eta \ge 0`.
        rank: rank of the subspace, an integer at least 1, at most the shorter side of a matrix.
        update_proj_gap: number of updates until a new subspace is computed, at least 1, rounded.
        scale: factor of the directions of matrices, :math:`\alpha`; 1/4 in the paper.
        base_optimizer: the transform in the subspace; :class:`scale_by_adam` if None.
        weight_decay: strength of the weight decay, :math:`\lambda \ge 0`.
        mask: the leaves to decay; all if None.
        weight_dimension_numbers: the axes of rows and columns; see :class:`scale_by_galore`.
        long_side: whether the longer side of a matrix is projected; False for the paper's.

    When:
        Training large models where the optimizer's state is what does not fit; an SVD of every
        matrix is due at each gap.

    References:
        Zhao et al., *GaLore: memory-efficient LLM training by gradient low-rank projection*, ICML
        2024, arXiv:2403.03507, Algorithm 2.

    >>> import fnopt, jax.numpy as jnp
    >>> state = fnopt.galore(1e-2, rank=4).init(jnp.zeros((64, 32)))
    >>> state[0].base_optimizer_state.mu.shape, state[0].projector.shape
    ((4, 32), (64, 4))
    """

    learning_rate: Rate
    rank: Static[int] = 128
    update_proj_gap: AtLeastOne = 200
    scale: Scalar = 1.0
    base_optimizer: Inner = None
    weight_decay: Rate = 0.0
    mask: Mask = None
    weight_dimension_numbers: Axes = None
    _: dataclasses.KW_ONLY
    long_side: Static[bool] = True
    family = "adaptive"
    example: ClassVar[dict[str, Any]] = {"rank": 16}

    def parts(self) -> tuple[Transform, ...]:
        return (
            scale_by_galore(
                self.rank,
                self.update_proj_gap,
                self.scale,
                self.base_optimizer,
                self.weight_dimension_numbers,
                long_side=self.long_side,
            ),
            add_decayed_weights(self.weight_decay, self.mask),
            scale_by_learning_rate(self.learning_rate),
        )
