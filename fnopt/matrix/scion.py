"""Scion."""

from __future__ import annotations

import dataclasses

from fnopt.core import (
    Composed,
    Decay,
    DType,
    NonNegative,
    Positive,
    Rate,
    Static,
    Transform,
    add_decayed_weights,
    scale_by_learning_rate,
)
from fnopt.core.ranges import NonNegativeInteger
from fnopt.core.types import OptState, Params
from fnopt.matrix.choice import Matrices, MatricesField
from fnopt.matrix.coefficients import Coefficients
from fnopt.matrix.iterated import Iterated
from fnopt.matrix.scale_by_scion import Norm, scale_by_scion


class scion(Iterated, Composed):
    r"""Steps of one size for every layer, in a norm that suits its kind, within a ball of it.

    .. math:: \theta_t = (1 - \eta_t)\,\theta_{t-1} - \eta_t\,u_t
        \quad\text{or, unconstrained,}\quad \theta_t = \theta_{t-1} - \eta_t\,u_t

    with :math:`u_t` of :class:`scale_by_scion`, of length :math:`\rho` in the norm of its layer.
    The first is the method of Frank and Wolfe: parameters that begin in the ball of radius
    :math:`\rho` stay there while :math:`\eta_t \le 1`. No leaf is left to another optimizer.

    Args:
        learning_rate: learning rate :math:`\eta \ge 0`; the length of a step is
            :math:`\eta\,\rho`.
        beta: decay of the mean, :math:`\beta \in [0, 1)`; the authors' ``momentum`` is
            :math:`1 - \beta`.
        radius: radius :math:`\rho > 0` for hidden layers and vectors.
        embedding_radius: radius for embeddings, above 0.
        head_radius: radius for the last layer, above 0.
        unconstrained: whether the parameters may leave the ball.
        embedding_norm: the norm for embeddings: ``"spectral"``, ``"column"``, ``"row"``,
            ``"largest"`` or ``"sign"``.
        head_norm: the norm for the last layer, one of the same.
        ns_coeffs: coefficients of the iteration; see :class:`scale_by_muon`.
        ns_steps: number of iterations, an integer at least 0.
        eps: added to norms that are divided by, at least 0.
        mu_dtype: dtype of the mean; the parameter's if None.
        matrices: what leaves are, and which axes are outputs and inputs: pairs of a pattern of
            paths and words. An embedding that is the last layer too is ``("embed", "head out
            in")``. By name and shape if None.
        ns_dtype: dtype of the iteration, such as bfloat16; float32, or float64 for float64 leaves,
            if None.

    When:
        Transformers, with one number for every leaf and rates that carry over from narrow models
        to wide ones. Steps keep their length until the rate falls, so it needs a schedule that
        ends near 0.

    References:
        Pethick et al., *Training deep learning models with norm-constrained LMOs*, ICML 2025,
        arXiv:2502.07529; the radii and the rate to try first are those of the authors' program for
        nanoGPT, where embedding and head share their weights. A separate embedding has the radius
        of hidden layers here.

    >>> import fnopt, jax.numpy as jnp
    >>> params = {"dense": {"kernel": jnp.zeros((2, 3)), "bias": jnp.zeros(2)}}
    >>> grads = {"dense": {"kernel": jnp.ones((2, 3)), "bias": jnp.array([3.0, 4.0])}}
    >>> tx = fnopt.scion(0.1, radius=1.0)
    >>> updates, state = tx.update(grads, tx.init(params), params)
    >>> [round(float(x), 3) for x in updates["dense"]["bias"]]
    [-0.085, -0.113]
    """

    learning_rate: Rate
    beta: Decay = 0.9
    radius: Positive = 50.0
    embedding_radius: Positive = 50.0
    head_radius: Positive = 3000.0
    _: dataclasses.KW_ONLY
    unconstrained: Static[bool] = False
    embedding_norm: Norm = "largest"
    head_norm: Norm = "sign"
    ns_coeffs: Coefficients = "jordan"
    ns_steps: NonNegativeInteger = 5
    eps: NonNegative = 1e-8
    mu_dtype: DType = None
    matrices: MatricesField = None
    ns_dtype: DType = None
    family = "matrix"
    usual_rate = 2.0**-12

    def parts(self) -> tuple[Transform, ...]:
        method = scale_by_scion(
            self.beta,
            self.radius,
            self.embedding_radius,
            self.head_radius,
            embedding_norm=self.embedding_norm,
            head_norm=self.head_norm,
            ns_coeffs=self.ns_coeffs,
            ns_steps=self.ns_steps,
            eps=self.eps,
            mu_dtype=self.mu_dtype,
            matrices=self.matrices,
            ns_dtype=self.ns_dtype,
        )
        towards_zero = () if self.unconstrained else (add_decayed_weights(1.0),)
        return (method, *towards_zero, scale_by_learning_rate(self.learning_rate))

    def init(self, params: Params) -> OptState:
        (self.matrices or Matrices()).check(type(self).__name__, params)
        return super().init(params)
