"""Muon."""

from __future__ import annotations

import dataclasses
from typing import Any

from fnopt.core import Decay, DType, Inner, Mask, NonNegative, Rate, Static, Transform
from fnopt.core.ranges import NonNegativeInteger
from fnopt.first_order.adamw import adamw
from fnopt.matrix.choice import Matrices, MatricesField
from fnopt.matrix.coefficients import Coefficients
from fnopt.matrix.iterated import Iterated
from fnopt.matrix.newton_schulz import Preconditioning
from fnopt.matrix.optimizer import MatrixOptimizer
from fnopt.matrix.scale_by_muon import check_one, scale_by_muon
from fnopt.matrix.scale_by_shape import RootMeanSquare, scale_by_shape


class muon(Iterated, MatrixOptimizer):
    r"""Momentum whose singular values are all about 1, for the matrices of hidden layers.

    .. math:: \Delta\theta_t = -\eta_t\,(c\,u_t + \lambda\,\theta_{t-1}), \qquad
        c = \sqrt{\max(1, m / n)} \text{ or } r\,\sqrt{\max(m, n)}

    with :math:`u_t` of :class:`scale_by_muon`, for matrices of :math:`m` outputs and :math:`n`
    inputs. Vectors, embeddings and heads get another optimizer, AdamW if not said otherwise;
    ``muon(…).table(params)`` prints which leaf gets what.

    Args:
        learning_rate: learning rate :math:`\eta \ge 0`.
        ns_coeffs: coefficients of the iteration: ``"jordan"``, ``"polar_express"``, ``"cans"`` or
            ``"dion"``, three numbers for all iterations, or a row of three for each, of which the
            last ones are taken.
        ns_steps: number of iterations, an integer at least 0.
        beta: decay of the mean, :math:`\beta \in [0, 1)`.
        eps: added to the norm that a matrix is divided by, and AdamW's, at least 0.
        weight_decay: strength of the weight decay of matrices, :math:`\lambda \ge 0`.
        weight_decay_mask: the leaves to decay; all if None.
        mu_dtype: dtype of the means, AdamW's too; the parameter's if None.
        nesterov: whether to use Nesterov's momentum, in AdamW too.
        adaptive: whether to multiply by the dual norm, for each matrix.
        preconditioning: the norm that a matrix is divided by before the iteration:
            ``"frobenius"``, ``"spectral"``, ``"schatten"`` or ``"aol"``.
        adam_b1: decay of AdamW's mean, in [0, 1).
        adam_b2: decay of AdamW's mean square, in [0, 1).
        adam_eps_root: AdamW's number added under the root, at least 0.
        adam_weight_decay: strength of AdamW's weight decay, at least 0.
        adam_learning_rate: learning rate of AdamW, at least 0; :math:`\eta` if None.
        muon_weight_dimension_numbers: optax's dimension numbers, instead of ``matrices``.
        consistent_rms: the root mean square :math:`r \ge 0` of an update, such as 0.2; the first
            :math:`c` if None.
        matrices: which leaves are matrices, and how: pairs of a pattern of paths and words for the
            axes, as ``("blocks/*/kernel", "stack in out")``; by name and shape if None.
        other: the optimizer of all other leaves, with a rate of its own, instead of AdamW.
        ns_dtype: dtype of the iteration, such as bfloat16; float32, or float64 for float64 leaves,
            if None.

    When:
        Transformers and other networks whose weights are mostly in matrices. Three products an
        iteration are little beside the gradient of a large batch, and much beside a small one's.

    Raises:
        ValueError: ``other`` is given together with a number for AdamW, or ``matrices`` with
            dimension numbers, or there are fewer rows of coefficients than iterations.

    References:
        Jordan et al., *Muon: an optimizer for hidden layers in neural networks*, 2024; Liu et al.,
        *Muon is scalable for LLM training*, 2025, arXiv:2502.16982, for ``consistent_rms``. Agrees
        with optax 0.2.8 but for this: optax's is for all leaves of two axes, embeddings and heads
        too; its presets are ``"standard"``, here ``"jordan"``, and ``"dion"``.

    >>> import fnopt, jax.numpy as jnp
    >>> params = {"layer": {"kernel": jnp.ones((3, 4)), "bias": jnp.ones(4)}}
    >>> for line in fnopt.muon(0.02, other=fnopt.sgd(0.1)).table(params).splitlines()[:3]:
    ...     print(line)
    leaf          seen as                    kind    by     gets
    layer/bias    4                          other   shape  sgd
    layer/kernel  3 × 4 → 1 matrix of 4 × 3  hidden  bias   muon
    """

    learning_rate: Rate
    ns_coeffs: Coefficients = "jordan"
    ns_steps: NonNegativeInteger = 5
    beta: Decay = 0.95
    eps: NonNegative = 1e-8
    weight_decay: Rate = 0.0
    weight_decay_mask: Mask = None
    mu_dtype: DType = None
    _: dataclasses.KW_ONLY
    nesterov: Static[bool] = True
    adaptive: Static[bool] = False
    preconditioning: Preconditioning = "frobenius"
    adam_b1: Decay = 0.9
    adam_b2: Decay = 0.999
    adam_eps_root: NonNegative = 0.0
    adam_weight_decay: Rate = 0.0
    adam_learning_rate: Rate = None
    muon_weight_dimension_numbers: MatricesField = None
    consistent_rms: RootMeanSquare = None
    matrices: MatricesField = None
    other: Inner = None
    ns_dtype: DType = None
    family = "matrix"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_one(self, "matrices", "muon_weight_dimension_numbers")
        for name in self._fields if self.other is not None else ():
            default = getattr(type(self), name, None)
            if name.startswith("adam_") and getattr(self, name) != default:
                raise ValueError(f"muon: {name} is AdamW's, which other replaces; give one")

    @property
    def mask(self) -> Any:
        return self.weight_decay_mask

    @property
    def _rules(self) -> Matrices:
        return self.matrices or self.muon_weight_dimension_numbers or Matrices()

    def direction(self) -> tuple[Transform, ...]:
        method = scale_by_muon(
            self.ns_coeffs,
            self.ns_steps,
            self.beta,
            self.eps,
            self.mu_dtype,
            nesterov=self.nesterov,
            adaptive=self.adaptive,
            preconditioning=self.preconditioning,
            matrices=self._rules,
            ns_dtype=self.ns_dtype,
        )
        return method, scale_by_shape(None, self.consistent_rms, matrices=self._rules)

    def of_others(self) -> Transform:
        if self.other is not None:
            return self.other
        rate = self.learning_rate if self.adam_learning_rate is None else self.adam_learning_rate
        return adamw(
            rate,
            self.adam_b1,
            self.adam_b2,
            self.eps,
            self.adam_eps_root,
            self.mu_dtype,
            self.adam_weight_decay,
            nesterov=self.nesterov,
        )
