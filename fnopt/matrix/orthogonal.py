"""Updates of matrices, orthogonalized."""

from __future__ import annotations

import dataclasses
from typing import Any

from fnopt.core import DType, NonNegative
from fnopt.core.context import Context
from fnopt.core.ranges import NonNegativeInteger
from fnopt.core.types import Arrays, Rows
from fnopt.matrix.choice import MatricesField
from fnopt.matrix.coefficients import Coefficients
from fnopt.matrix.iterated import Iterated
from fnopt.matrix.rule import MatrixRule


class scale_by_orthogonalization(Iterated, MatrixRule):
    r"""Drives the singular values of matrices towards 1 and keeps their singular vectors.

    .. math:: u = \operatorname{NS}(g) \approx U V^\top, \qquad g = U \Sigma V^\top

    It has no slots: after momentum it is Muon's direction, after :class:`scale_by_soap` that of
    SOAP-Muon, and so for any other preconditioner. Its length does not depend on that of its input.

    Args:
        ns_coeffs: coefficients of the Newton-Schulz iteration: a name, three numbers, or a row of
            three for each iteration.
        ns_steps: number of iterations, at most the rows given if there is more than one.
        eps: smallest norm of a matrix that is divided by, at least 0.
        matrices: which leaves are matrices; by name and shape if None.
        ns_dtype: dtype of the iteration, such as bfloat16; float32 at least if None.

    When:
        To make a method of your own that is for matrices as Muon is, out of parts.

    References:
        Jordan et al., *Muon: an optimizer for hidden layers in neural networks*, 2024. SOAP-Muon is
        of modded-nanogpt's optimization track, github.com/KellerJordan/modded-nanogpt, pull request
        278: it has a look ahead (Nesterov's) in the mean, squares that mean for :math:`V` where
        SOAP squares the gradient, and orthogonalizes the mean itself at the first update.

    >>> import fnopt, jax.numpy as jnp
    >>> soap_muon = fnopt.chain(
    ...     fnopt.scale_by_soap(0.95, 0.9, precondition_frequency=1),
    ...     fnopt.scale_by_orthogonalization(),
    ...     fnopt.scale_by_learning_rate(0.02),
    ... )
    >>> soap_muon.init({"kernel": jnp.zeros((64, 32))})[0].left["kernel"].shape
    (1, 32, 32)
    """

    ns_coeffs: Coefficients = "jordan"
    ns_steps: NonNegativeInteger = 5
    eps: NonNegative = 1e-8
    matrices: MatricesField = None
    _: dataclasses.KW_ONLY
    ns_dtype: DType = None
    family = "parts"

    keeps_zero = True

    def update_matrices(
        self, grads: Arrays, slots: Rows, params: Any, ctx: Context, **extra_args: Any
    ) -> tuple[Arrays, list[dict[str, Any]]]:
        return self.orthogonalized(grads), [{} for _ in grads]
