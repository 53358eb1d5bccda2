"""PSGD with Kronecker-factored preconditioners."""

from __future__ import annotations

import dataclasses

from fnopt.core import Decay, DType, Inner, Mask, Positive, Rate, Seed, Static, Transform
from fnopt.core.ranges import Bound, NonNegativeInteger
from fnopt.matrix.choice import MatricesField
from fnopt.matrix.optimizer import MatrixOptimizer
from fnopt.matrix.psgd_factors import Mode
from fnopt.matrix.scale_by_psgd_kron import Probability, scale_by_psgd_kron


class psgd_kron(MatrixOptimizer):
    r"""Momentum whitened by a preconditioner that is itself fitted by stochastic gradient descent.

    .. math:: \Delta\theta_t = -\eta_t\,(u_t + \lambda\,\theta_{t-1})

    with :math:`u_t` of :class:`scale_by_psgd_kron` for the matrices of hidden layers. All other
    leaves get ``other``; the program has PSGD for them too, with diagonal factors, as
    ``memory_save_mode`` has it for matrices.

    Args:
        learning_rate: learning rate :math:`\eta \ge 0`; 3e-4 in the program. The directions have
            a root mean square of about 1.
        b1: decay of the mean gradient, :math:`\beta_1 \in [0, 1)`.
        preconditioner_update_probability: probability that the preconditioner is fitted at an
            update, in [0, 1]; None for 1 at first, 0.03 after 4000 updates.
        max_size_triangular: size of a side above which its factor is diagonal, an integer.
        memory_save_mode: which factors are diagonal: ``"one_diag"``, ``"smart_one_diag"`` or
            ``"all_diag"``; none if None.
        weight_decay: strength of the weight decay, :math:`\lambda \ge 0`.
        mask: the leaves to decay; all if None.
        matrices: which leaves are matrices, and how; by name and shape if None.
        other: the optimizer of all other leaves; AdamW at the same rate if None.
        precond_lr: size of a step of the factors, at least 0.
        precond_init_scale: what the factors' product is the identity times of at the start, above
            0.
        momentum_into_precond_update: whether the mean gradient is what is whitened; False for the
            gradient.
        normalize_grads: whether each matrix of gradients is divided by its norm first.
        clip_update_rms: largest root mean square of a matrix's direction, above 0; None or inf does
            not clip.
        mu_dtype: dtype of the mean; the parameter's if None.
        precond_dtype: dtype of the factors; the parameter's, float32 at least, if None.
        seed: seed of the draws, an integer or a key; 0 if None.

    When:
        Noisy, badly conditioned losses, recurrent networks among them, where a whole preconditioner
        is wanted without an eigendecomposition. A step that fits takes six to seven times one that
        does not (CPU, matrices of 256 × 768), and a third of that with ``"one_diag"``.

    References:
        Li, *Preconditioned stochastic gradient descent*, 2015, arXiv:1512.04202; Pooladzandi & Li,
        *Curvature-informed SGD via general purpose Lie-group preconditioners*, 2024,
        arXiv:2402.04553. Defaults are those of ``kron_torch`` 0.3.3; for its differences see
        :class:`scale_by_psgd_kron`.

    >>> import fnopt, jax.numpy as jnp
    >>> tx = fnopt.psgd_kron(3e-4, memory_save_mode="one_diag")
    >>> factors = tx.direction()[0].init(jnp.zeros((64, 32)))
    >>> factors.left.shape, factors.right.shape
    ((1, 32, 32), (1, 64))
    """

    learning_rate: Rate
    b1: Decay = 0.9
    preconditioner_update_probability: Probability = None
    max_size_triangular: NonNegativeInteger = 8192
    memory_save_mode: Mode = None
    weight_decay: Rate = 0.0
    mask: Mask = None
    matrices: MatricesField = None
    other: Inner = None
    _: dataclasses.KW_ONLY
    precond_lr: Rate = 0.1
    precond_init_scale: Positive = 1.0
    momentum_into_precond_update: Static[bool] = True
    normalize_grads: Static[bool] = False
    clip_update_rms: Bound = 1.1
    mu_dtype: DType = None
    precond_dtype: DType = None
    seed: Seed = None
    family = "matrix"

    def direction(self) -> tuple[Transform, ...]:
        return (
            scale_by_psgd_kron(
                self.b1,
                self.preconditioner_update_probability,
                self.max_size_triangular,
                self.memory_save_mode,
                self.mu_dtype,
                self.matrices,
                precond_lr=self.precond_lr,
                precond_init_scale=self.precond_init_scale,
                momentum_into_precond_update=self.momentum_into_precond_update,
                normalize_grads=self.normalize_grads,
                clip_update_rms=self.clip_update_rms,
                precond_dtype=self.precond_dtype,
                seed=self.seed,
            ),
        )
