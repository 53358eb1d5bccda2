"""Newton's method with the Hessian as a matrix, and a line search."""

from __future__ import annotations

from fnopt.core import Composed, NonNegative, Rate, Transform, scale_by_learning_rate
from fnopt.curvature.line import LineSearch
from fnopt.curvature.scale_by_hager_zhang_linesearch import scale_by_hager_zhang_linesearch
from fnopt.curvature.scale_by_newton import scale_by_newton


class newton(Composed):
    r"""Newton's method: the exact Hessian, made positive definite, and a line search.

    .. math:: \Delta\theta_t = -\eta_t\,(|H_t| + \lambda I)^{-1} g_t, \qquad
        H_t = \nabla^2 L(\theta_{t-1})

    with the direction of :class:`scale_by_newton`; a line search multiplies the step once more.
    ``update`` receives ``value``, ``grad`` and ``value_fn`` or ``evaluation``.

    Args:
        learning_rate: learning rate :math:`\eta \ge 0`, or where the line search begins; 1 if None.
        damping: :math:`\lambda \ge 0`, which shortens the step; 0 for none.
        linesearch: a transform that scales the step so that the loss falls; by default Hager and
            Zhang's, which tries the step as it is first and is not stopped by rounding near a
            minimum. None for the step as it is.

    When:
        Up to about a thousand parameters and a smooth loss without noise: a convex quadratic takes
        one step. :class:`trust_newton` is safer far from the minimum, :class:`newton_cg` takes many
        parameters.

    References:
        Nocedal & Wright, *Numerical optimization*, Springer, 2nd edition 2006, Section 3.4;
        Dauphin et al., NeurIPS 2014, arXiv:1406.2572, for indefinite Hessians.

    >>> import fnopt, jax, jax.numpy as jnp
    >>> def loss(x):
    ...     return 1e4 * x[0] ** 2 + x[0] * x[1] + x[1] ** 2
    >>> tx = fnopt.newton()
    >>> x = jnp.array([1.0, 2.0])
    >>> value, grad = jax.value_and_grad(loss)(x)
    >>> updates, state = tx.update(grad, tx.init(x), x, value=value, grad=grad, value_fn=loss)
    >>> bool(loss(x + updates) < 1e-9)
    True
    """

    learning_rate: Rate = 1.0
    damping: NonNegative = 0.0
    linesearch: LineSearch = scale_by_hager_zhang_linesearch(initial_guess_strategy="one")
    family = "curvature"

    def parts(self) -> tuple[Transform, ...]:
        step = scale_by_newton(self.damping), scale_by_learning_rate(self.learning_rate)
        return step if self.linesearch is None else (*step, self.linesearch)
