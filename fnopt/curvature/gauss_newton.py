"""Gauss-Newton, for any loss on outputs."""

from __future__ import annotations

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
from fnopt.core.types import Params
from fnopt.curvature.operators import LinearOperator, generalized_gauss_newton
from fnopt.curvature.preconditioned import Preconditioned, PreconditionedState, Solver


class scale_by_gauss_newton(Preconditioned):
    r"""Multiplies the gradient by the inverse of the damped Gauss-Newton matrix.

    .. math:: u_t = (G_t + \lambda I)^{-1} g_t, \qquad G_t = J^\top \nabla^2 \ell\,J

    with the derivative J of the outputs by the parameters and the Hessian of the loss by the
    outputs; for residuals :math:`G = J^\top J`. ``update`` needs an ``evaluation`` with outputs,
    which a step of :mod:`fnopt.train` passes; by hand it is
    ``Evaluation.of_outputs(outputs, loss_of_outputs)`` or ``Evaluation.of_residuals(residuals)``.

    Args:
        damping: :math:`\lambda \ge 0`, in units of the curvature.
        solver: ``"cg"``, conjugate gradients, which need products with G alone; or
            ``"cholesky"``, which forms G: exact, for up to a few thousand parameters.
        max_cg_steps: largest number of steps of conjugate gradients, a product each, at least 1.
        rtol: they end at a residual of this times the norm of the gradient, at least 0.

    Raises:
        TypeError: a parameter is complex.
        ValueError: ``update`` received no parameters, or no outputs.

    References:
        Schraudolph, *Fast curvature matrix-vector products for second-order gradient descent*,
        Neural Computation 14, 2002, doi:10.1162/08997660260028683.
    """

    State = PreconditionedState
    family = "parts"

    def matrix(self, evaluation: Evaluation, params: Params) -> LinearOperator:
        return generalized_gauss_newton(evaluation, params)


class gauss_newton(Composed):
    r"""Gauss-Newton: Newton's method without the second derivatives of the model.

    .. math:: \Delta\theta_t = -\eta_t\,(G_t + \lambda I)^{-1} g_t, \qquad
        G_t = J^\top \nabla^2 \ell\,J

    with the derivative J of the outputs by the parameters and the Hessian of the loss by the
    outputs, so that G has no negative eigenvalue where the loss is convex in them. For residuals it
    is :math:`J^\top J`, and a linear problem is solved in one step. ``update`` needs an
    ``evaluation``, see :class:`scale_by_gauss_newton`.

    Args:
        learning_rate: learning rate :math:`\eta \ge 0`; 1 is the step to the minimum of the model.
        damping: :math:`\lambda \ge 0`, in units of the curvature. The default is for fits to data;
            a network that classifies needs about 1, and may diverge with less.
        solver: ``"cg"``, conjugate gradients, which need products with G alone; or
            ``"cholesky"``, which forms G: exact, for up to a few thousand parameters.
        max_cg_steps: largest number of steps of conjugate gradients, a product each, at least 1.
        rtol: they end at a residual of this times the norm of the gradient, at least 0.
        linesearch: a transform that scales the step, such as
            ``scale_by_backtracking_linesearch(20)``; none if None.

    When:
        Regression and classification by networks with large or full batches, where a step may cost
        as much as 40 gradients. A damping that adapts makes it
        :class:`~fnopt.levenberg_marquardt`.

    References:
        Schraudolph, *Fast curvature matrix-vector products for second-order gradient descent*,
        Neural Computation 14, 2002, doi:10.1162/08997660260028683; Gauss, *Theoria motus*, 1809.

    >>> import jax.numpy as jnp, optax
    >>> from fnopt.core import Evaluation
    >>> t, y = jnp.array([0.0, 1.0, 2.0]), jnp.array([1.0, 3.0, 5.0])
    >>> evaluation = Evaluation.of_residuals(lambda p: p[0] + p[1] * t - y)
    >>> tx, line = gauss_newton(damping=0.0), jnp.zeros(2)
    >>> grads = evaluation.grad(line)
    >>> updates, state = tx.update(grads, tx.init(line), line, evaluation=evaluation)
    >>> optax.apply_updates(line, updates).round(4)
    Array([1., 2.], dtype=float32)
    """

    learning_rate: Rate = 1.0
    damping: NonNegative = 1e-3
    solver: Solver = "cg"
    max_cg_steps: Static[int] = 20
    rtol: NonNegative = 1e-4
    linesearch: Inner = None
    family = "curvature"

    def __post_init__(self) -> None:
        super().__post_init__()
        positive_integer("gauss_newton: max_cg_steps", self.max_cg_steps)

    def parts(self) -> tuple[Transform, ...]:
        return (
            scale_by_gauss_newton(self.damping, self.solver, self.max_cg_steps, self.rtol),
            scale_by_learning_rate(self.learning_rate),
            *(() if self.linesearch is None else (self.linesearch,)),
        )
