"""The natural gradient."""

from __future__ import annotations

from typing import Annotated, Any

import jax
import jax.numpy as jnp

from fnopt.core import (
    Composed,
    Evaluation,
    Inner,
    NonNegative,
    Rate,
    Static,
    Transform,
    scale_by_learning_rate,
)
from fnopt.core.checks import positive_integer
from fnopt.core.fields import Field
from fnopt.core.ranges import Bound
from fnopt.core.types import Params
from fnopt.curvature.operators import LinearOperator, empirical_fisher, generalized_gauss_newton
from fnopt.curvature.preconditioned import Preconditioned, PreconditionedState, Solver

Fisher = Annotated[Any, Field(static=True, choices=("exact", "empirical"))]
"""Which Fisher matrix: of the model's own targets, or of those in the batch."""


class scale_by_natural_gradient(Preconditioned):
    r"""Multiplies the gradient by the inverse of the damped Fisher matrix.

    .. math:: d_t = (F_t + \lambda I)^{-1} g_t, \qquad
        u_t = \min\Bigl(1, \sqrt{2\,\delta / \langle d_t, F_t\,d_t \rangle}\Bigr)\,d_t

    F is as in :class:`natural_gradient`. Twice the divergence that a step d causes is about
    :math:`\langle d, F\,d \rangle`. ``update`` needs an ``evaluation`` with outputs, which a step
    of :mod:`fnopt.train` passes; by hand it is ``Evaluation.of_outputs(outputs, loss_of_outputs,
    losses_of_outputs)``, the last for the empirical matrix alone.

    Args:
        damping: :math:`\lambda \ge 0`, in units of F.
        solver: ``"cg"``, conjugate gradients, which need products with F alone; or
            ``"cholesky"``, which forms F: exact, for up to a few thousand parameters.
        max_cg_steps: largest number of steps of conjugate gradients, a product each, at least 1.
        rtol: they end at a residual of this times the norm of the gradient, at least 0.
        fisher: ``"exact"`` or ``"empirical"``.
        max_kl: largest divergence :math:`\delta > 0` between the predictions before and after the
            step; None or inf does not bound it.

    Raises:
        TypeError: a parameter is complex.
        ValueError: ``update`` received no parameters, or no outputs.
    """

    fisher: Fisher = "exact"
    max_kl: Bound = None

    State = PreconditionedState
    family = "parts"

    def matrix(self, evaluation: Evaluation, params: Params) -> LinearOperator:
        matrix_of = generalized_gauss_newton if self.fisher == "exact" else empirical_fisher
        return matrix_of(evaluation, params)

    def length(self, square: jax.Array) -> Any:
        if self.max_kl is None:
            return super().length(square)
        # Without curvature there is no divergence.
        safe = jnp.where(square > 0, square, jnp.ones_like(square))
        ratio = jnp.where(square > 0, jnp.sqrt(2 * self.max_kl / safe), jnp.ones_like(square))
        return jnp.minimum(ratio, 1)


class natural_gradient(Composed):
    r"""The natural gradient: the steepest descent per change of the model's predictions.

    .. math:: d_t = (F_t + \lambda I)^{-1} g_t, \qquad \Delta\theta_t = -\eta_t\,
        \min\Bigl(1, \sqrt{2\,\delta / \langle d_t, F_t\,d_t \rangle}\Bigr)\,d_t

    F is the Fisher matrix of the distribution that the model predicts. Where the loss is the
    negative log-likelihood of an exponential family in its natural parameters, it is the
    Gauss-Newton matrix, which ``"exact"`` computes: softmax or sigmoid cross-entropy of logits, or
    half the squared error (of unit variance). ``"empirical"`` is the matrix of the examples'
    gradients :math:`\sum_i w_i\,g_i\,g_i^\top` instead, which is near it where the model fits. See
    :class:`scale_by_natural_gradient` for what ``update`` needs.

    Args:
        learning_rate: learning rate :math:`\eta \ge 0`.
        damping: :math:`\lambda \ge 0`, in units of F. The default is for fits to data; a network
            that classifies needs about 1, and may diverge with less.
        solver: ``"cg"``, conjugate gradients, which need products with F alone; or
            ``"cholesky"``, which forms F: exact, for up to a few thousand parameters.
        max_cg_steps: largest number of steps of conjugate gradients, a product each, at least 1.
        rtol: they end at a residual of this times the norm of the gradient, at least 0.
        fisher: ``"exact"`` or ``"empirical"``.
        max_kl: largest divergence :math:`\delta > 0` between the predictions before and after the
            step, by its second order; None or inf does not bound it.
        linesearch: a transform that scales the step, such as
            ``scale_by_backtracking_linesearch(20)``; none if None.

    When:
        Policies and other models of distributions, with a divergence to keep (``max_kl``), and
        networks in large batches.

    References:
        Amari, *Natural gradient works efficiently in learning*, Neural Computation 10, 1998,
        doi:10.1162/089976698300017746; Martens, *New insights and perspectives on the natural
        gradient method*, JMLR 21, 2020, arXiv:1412.1193, Section 9 for the Gauss-Newton matrix;
        Schulman et al., *Trust region policy optimization*, ICML 2015, arXiv:1502.05477, Appendix
        C for the bound, which is reached there by every step.

    >>> import jax, jax.numpy as jnp, optax
    >>> from fnopt.core import Evaluation
    >>> loss = optax.softmax_cross_entropy_with_integer_labels
    >>> logits, label = jnp.zeros(2), jnp.array(1)
    >>> evaluation = Evaluation.of_outputs(lambda p: p, lambda p: loss(p, label))
    >>> tx = natural_gradient(max_kl=0.01)
    >>> grads = evaluation.grad(logits)
    >>> updates, state = tx.update(grads, tx.init(logits), logits, evaluation=evaluation)
    >>> before, after = jax.nn.log_softmax(logits), jax.nn.log_softmax(logits + updates)
    >>> round(float(jnp.sum(jnp.exp(before) * (before - after))), 3)
    0.01
    """

    learning_rate: Rate = 1.0
    damping: NonNegative = 1e-3
    solver: Solver = "cg"
    max_cg_steps: Static[int] = 20
    rtol: NonNegative = 1e-4
    fisher: Fisher = "exact"
    max_kl: Bound = None
    linesearch: Inner = None
    family = "curvature"

    def __post_init__(self) -> None:
        super().__post_init__()
        positive_integer("natural_gradient: max_cg_steps", self.max_cg_steps)

    def parts(self) -> tuple[Transform, ...]:
        own = self.damping, self.solver, self.max_cg_steps, self.rtol, self.fisher, self.max_kl
        return (
            scale_by_natural_gradient(*own),
            scale_by_learning_rate(self.learning_rate),
            *(() if self.linesearch is None else (self.linesearch,)),
        )
