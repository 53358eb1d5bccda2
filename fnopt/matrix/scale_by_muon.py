"""Muon's direction."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp

from fnopt.core import (
    Corrections,
    Decay,
    DType,
    NonNegative,
    Static,
    bias_correction,
    corrected_mean,
    moment,
    zeros,
)
from fnopt.core.context import Context
from fnopt.core.ranges import NonNegativeInteger
from fnopt.core.types import Arrays, Numeric, Rows
from fnopt.matrix.choice import Matrices, MatricesField
from fnopt.matrix.coefficients import Coefficients
from fnopt.matrix.iterated import Iterated
from fnopt.matrix.newton_schulz import Preconditioning
from fnopt.matrix.rule import MatrixRule


class scale_by_muon(Iterated, MatrixRule):
    r"""Replaces the mean of recent gradients of a matrix by its orthogonal factor, nearly.

    .. math::
        M_t &= \beta\,M_{t-1} + (1 - \beta)\,G_t, &
        \hat M_t &= \frac{\beta\,M_t}{1 - \beta^{t+1}} + \frac{(1 - \beta)\,G_t}{1 - \beta^t} \\
        \hat M_t &= U \Sigma V^*, & u_t &= U\,p(\Sigma)\,V^* \approx U V^*

    with :math:`p` the polynomial of the Newton-Schulz iteration, see
    :func:`fnopt.matrix.newton_schulz.orthogonalize`. Without Nesterov's momentum
    :math:`\hat M_t` is :math:`M_t / (1 - \beta^t)`. A leaf that is no hidden matrix passes as it
    is.

    Args:
        ns_coeffs: coefficients of the iteration: ``"jordan"``, ``"polar_express"``, ``"cans"`` or
            ``"dion"``, three numbers for all iterations, or a row of three for each, of which the
            last ones are taken.
        ns_steps: number of iterations, an integer at least 0.
        beta: decay of the mean, :math:`\beta \in [0, 1)`.
        eps: added to the norm that a matrix is divided by, at least 0.
        mu_dtype: dtype of the mean; the parameter's if None.
        nesterov: whether to use Nesterov's momentum.
        adaptive: whether to multiply by the dual norm,
            :math:`\langle \hat M_t, u_t \rangle \approx \lVert \hat M_t \rVert_*`, a number for
            each matrix.
        preconditioning: the norm that a matrix is divided by before the iteration:
            ``"frobenius"``, ``"spectral"``, ``"schatten"`` or ``"aol"``.
        weight_dimension_numbers: optax's dimension numbers, instead of ``matrices``.
        matrices: which leaves are matrices, and how: pairs of a pattern of paths and words for the
            axes, as ``("blocks/*/kernel", "stack in out")``; by name and shape if None.
        ns_dtype: dtype of the iteration, such as bfloat16; float32, or float64 for float64 leaves,
            if None.

    Raises:
        ValueError: there are several rows of coefficients, but fewer than iterations, or two
            arguments say which leaves are matrices.

    References:
        Jordan et al., *Muon: an optimizer for hidden layers in neural networks*, 2024; Bernstein &
        Newhouse, *Old optimizer, new norm*, 2024, arXiv:2409.20325, for ``adaptive``. Agrees with
        optax 0.2.8 but for this: its state has no ``ns_coeffs``, without dimension numbers optax's
        refuses leaves that are no matrices, and takes one dual norm for a whole stack of matrices.
    """

    ns_coeffs: Coefficients = "jordan"
    ns_steps: NonNegativeInteger = 5
    beta: Decay = 0.95
    eps: NonNegative = 1e-8
    mu_dtype: DType = None
    _: dataclasses.KW_ONLY
    nesterov: Static[bool] = True
    adaptive: Static[bool] = False
    preconditioning: Preconditioning = "frobenius"
    weight_dimension_numbers: MatricesField = None
    matrices: MatricesField = None
    ns_dtype: DType = None
    family = "parts"

    counts = True
    keeps_zero = True
    either_way = True
    like_params = ("mu",)

    def __post_init__(self) -> None:
        super().__post_init__()
        check_one(self, "matrices", "weight_dimension_numbers")

    @property
    def _rules(self) -> Matrices:
        return self.matrices or self.weight_dimension_numbers or Matrices()

    def init_matrices(self, param: jax.Array) -> dict[str, jax.Array]:
        return {"mu": zeros(param, self.mu_dtype)}

    def precompute(self, t: Numeric) -> Corrections:
        after = bias_correction(self.beta, t + 1) if self.nesterov else None
        return Corrections(bias_correction(self.beta, t), None, after)

    def update_matrices(
        self, grads: Arrays, slots: Rows, params: Any, ctx: Context, **extra_args: Any
    ) -> tuple[Arrays, list[dict[str, Any]]]:
        means = [moment(g, s.mu, self.beta) for g, s in zip(grads, slots, strict=True)]
        ahead = [
            corrected_mean(mean, g, self.beta, ctx.precomputed)
            for mean, g in zip(means, grads, strict=True)
        ]
        directions = self.orthogonalized(ahead, self.preconditioning)
        if self.adaptive:
            directions = [_dual(*pair) for pair in zip(ahead, directions, strict=True)]
        return directions, [{"mu": mean} for mean in means]


def _dual(x: jax.Array, direction: jax.Array) -> jax.Array:
    return jnp.sum((x.conj() * direction).real, axis=(-2, -1), keepdims=True) * direction


def check_one(method: Any, *names: str) -> None:
    """Refuses several arguments that say the same."""
    given = [name for name in names if getattr(method, name) is not None]
    if len(given) > 1:
        raise ValueError(
            f"{type(method).__name__}: {' and '.join(given)} say the same; give one of them"
        )
