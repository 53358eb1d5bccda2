"""PSGD's direction, with Kronecker-factored preconditioners."""

from __future__ import annotations

import dataclasses
from typing import Annotated, Any

import jax
import jax.numpy as jnp

from fnopt.core import Decay, DType, Positive, Rate, Seed, Static, as_key, bias_correction, moment
from fnopt.core.checks import Interval
from fnopt.core.context import Context
from fnopt.core.moments import computing_dtype, divide, zeros
from fnopt.core.norms import norm
from fnopt.core.prng import typed_key
from fnopt.core.ranges import Bound, NonNegativeInteger, OrNone
from fnopt.core.types import Arrays, Rows
from fnopt.matrix.choice import MatricesField
from fnopt.matrix.psgd_factors import (
    Mode,
    annealed,
    fitted,
    initial_factors,
    limited,
    whitened,
    wide_batches,
)
from fnopt.matrix.rule import MatrixRule

Probability = Annotated[Any, OrNone(Interval("[0, 1]"))]


class scale_by_psgd_kron(MatrixRule):
    r"""Momentum of matrices, whitened by a preconditioner :math:`Q^H Q` that is fitted to it.

    With :math:`M_t` the mean gradient without its bias, :math:`Q = Q_1 \otimes Q_2`, both upper
    triangular, :math:`V` a matrix of normal numbers and :math:`\epsilon = 2^{-11.5}`,

    .. math::
        A &= Q_1 (M_t + \epsilon\,\overline{|M_t|}\,V)\,Q_2^T, \qquad
        B = Q_1^{-T} V\,Q_2^{-1} \\
        Q_1 &\leftarrow Q_1 - \mu\,\frac{\operatorname{triu}(A A^T - B B^T)}
            {\lVert A A^T + B B^T \rVert}\,Q_1, \qquad
        Q_2 \leftarrow Q_2 - \mu\,\frac{\operatorname{triu}(A^T A - B^T B)}
            {\lVert A^T A + B^T B \rVert}\,Q_2 \\
        D_t &= Q_1^T Q_1\,M_t\,Q_2^T Q_2, \qquad
        u_t = D_t \min(1, r / \operatorname{rms}(D_t))

    with lower bounds of the norms. The factors descend :math:`\mathbb E[m^T P m + v^T P^{-1} v]`,
    whose minimum :math:`P = \mathbb E[m m^T]^{-1/2}` whitens. They are fitted at random updates,
    at the same ones for all matrices; others skip it. Slots: ``mu``, and ``left`` and ``right``,
    the factors for outputs and for inputs.

    Args:
        b1: decay of the mean gradient, :math:`\beta_1 \in [0, 1)`; 0 whitens the gradient itself.
        preconditioner_update_probability: probability that the factors are fitted at an update, in
            [0, 1]; None for 1 at 500 updates, then :math:`e^{-(t - 500)/1000}`, at least 0.03.
        max_size_triangular: size of a side above which its factor is diagonal, an integer.
        memory_save_mode: ``"one_diag"`` for a diagonal factor of the longer side (inputs, if both
            are equal), ``"smart_one_diag"`` for one unless both are equal, ``"all_diag"`` for two;
            None for none.
        mu_dtype: dtype of the mean; the parameter's if None.
        matrices: which leaves are matrices; see :class:`MatrixRule`.
        precond_lr: size of a step of the factors, :math:`\mu \ge 0`.
        precond_init_scale: what :math:`Q` is the identity times of at the start, above 0.
        momentum_into_precond_update: whether :math:`M_t` is what is whitened; False for the
            gradient in its place in :math:`A`.
        normalize_grads: whether each matrix of gradients is divided by its norm first.
        clip_update_rms: largest root mean square of a matrix's direction, :math:`r > 0`; None or
            inf does not clip.
        precond_dtype: dtype of the factors; the parameter's, float32 at least, if None.
        seed: seed of the draws, an integer or a key; 0 if None. The state keeps its words.

    References:
        Li, *Preconditioned stochastic gradient descent*, 2015, arXiv:1512.04202; Li, *Stochastic
        Hessian fittings with Lie groups*, 2024, arXiv:2402.11858, Section V.

    Defaults and step are those of ``kron_torch`` 0.3.3 (Walters & Pooladzandi); in ``psgd_torch``
    (Li) it is ``dQ="EQ"``, among newer ones. That program counts updates instead of drawing
    (``psgd_jax`` draws), adds the noise to the direction too, makes the largest elements of both
    factors equal at one step in a hundred, not at each, which changes no direction, clips a leaf,
    not a matrix, and lets :math:`Q` grow without bound where the gradient is 0; here it stays. One
    :math:`V` is drawn for each shape: each matrix has an expectation of its own, so one draw may
    serve all, and a stack of layers goes as separate ones do.
    """

    b1: Decay = 0.9
    preconditioner_update_probability: Probability = None
    max_size_triangular: NonNegativeInteger = 8192
    memory_save_mode: Mode = None
    mu_dtype: DType = None
    matrices: MatricesField = None
    _: dataclasses.KW_ONLY
    precond_lr: Rate = 0.1
    precond_init_scale: Positive = 1.0
    momentum_into_precond_update: Static[bool] = True
    normalize_grads: Static[bool] = False
    clip_update_rms: Bound = 1.1
    precond_dtype: DType = None
    seed: Seed = None
    family = "parts"

    counts = True
    keeps_zero = True
    like_params = ("mu",)
    shared = ("rng_key",)

    def __post_init__(self) -> None:
        super().__post_init__()
        if hasattr(self.seed, "dtype"):  # numbers are cast to a precision, which a key has not
            object.__setattr__(self, "seed", as_key(self.seed))

    def init_shared(self, params: Arrays) -> dict[str, Any]:
        return {"rng_key": as_key(0 if self.seed is None else self.seed)}

    def init_matrices(self, param: jax.Array) -> dict[str, jax.Array]:
        dtype = self.precond_dtype or computing_dtype(param.dtype)
        size, mode = self.max_size_triangular, self.memory_save_mode
        left, right = initial_factors(param.shape, size, mode, self.precond_init_scale, dtype)
        return {"mu": zeros(param, self.mu_dtype), "left": left, "right": right}

    def update_matrices(
        self, grads: Arrays, slots: Rows, params: Any, ctx: Context, *, shared: Any, **_: Any
    ) -> tuple[Arrays, list[dict[str, Any]], dict[str, Any]]:
        if self.normalize_grads:
            grads = [divide(g, norm(g, (-2, -1), keepdims=True)) for g in grads]
        means = [moment(g, s.mu, self.b1) for g, s in zip(grads, slots, strict=True)]
        now = [mean / bias_correction(self.b1, ctx.t) for mean in means]
        key, for_choice, for_vectors = jax.random.split(typed_key(shared["rng_key"]), 3)
        probability = self.preconditioner_update_probability
        probability = annealed(ctx.t) if probability is None else probability
        lists = [now] if self.momentum_into_precond_update else [now, grads]
        batches, back = wide_batches([(s.left, s.right) for s in slots], *lists)
        factors = jax.lax.cond(
            jax.random.uniform(for_choice, (), jnp.result_type(ctx.t)) < probability,
            lambda aims, old: fitted(aims, old, for_vectors, self.precond_lr),
            lambda aims, old: old,
            [batch[-1] for batch in batches],
            [batch[:2] for batch in batches],
        )
        pairs = zip(batches, factors, strict=True)
        results = [(limited(whitened(b[2], *own), self.clip_update_rms), *own) for b, own in pairs]
        directions, lefts, rights = zip(*back(results), strict=True)
        slots_of = zip(means, lefts, rights, strict=True)
        rows = [{"mu": mean, "left": left, "right": right} for mean, left, right in slots_of]
        return list(directions), rows, {"rng_key": jax.random.key_data(key)}
