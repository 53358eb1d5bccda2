"""BFGS."""

from __future__ import annotations

from fnopt.core import Composed, Rate, Static, Transform
from fnopt.curvature.line import LineSearch
from fnopt.curvature.scale_by_bfgs import scale_by_bfgs
from fnopt.curvature.scale_by_hager_zhang_linesearch import scale_by_hager_zhang_linesearch
from fnopt.curvature.search import length


class bfgs(Composed):
    r"""BFGS: Newton's method with an inverse Hessian from all changes of the gradient.

    .. math:: \Delta\theta_t = -t\,H_t\,g_t

    with the matrix :math:`H_t` of :class:`scale_by_bfgs` and the step :math:`t` of the line search.
    The first direction has at most length 1.

    ``update`` needs ``value_fn`` for the line search; ``value`` and ``grad`` save an evaluation
    where they are passed, and ``tx.outcome(state)`` has those of the next update.

    Args:
        learning_rate: factor of the direction before the line search, :math:`\eta \ge 0`; 1 if
            None.
        scale_init_precond: whether the matrix begins with :math:`\gamma\,I` of the first pair; with
            the identity if not.
        linesearch: a transform that finds the step; None for a step of 1, or of the learning rate.

    When:
        The loss is smooth and has no noise, and there are at most a few thousand parameters: the
        matrix has :math:`n^2` numbers, and an update costs as many multiplications. It needs fewer
        evaluations than :class:`lbfgs`, which serves where :math:`n` is larger.

    References:
        Broyden, *The convergence of a class of double-rank minimization algorithms*, IMA Journal of
        Applied Mathematics 6, 1970; Fletcher, *A new approach to variable metric algorithms*, The
        Computer Journal 13, 1970; Nocedal & Wright, *Numerical optimization*, 2nd edition, 2006,
        Algorithm 6.1.

    >>> import fnopt, jax, jax.numpy as jnp, optax
    >>> def rosenbrock(x):
    ...     return (1 - x[0]) ** 2 + 100 * (x[1] - x[0] ** 2) ** 2
    >>> tx = fnopt.bfgs()
    >>> x = jnp.array([-1.2, 1.0])
    >>> state = tx.init(x)
    >>> value, grad = jax.value_and_grad(rosenbrock)(x)
    >>> @jax.jit
    ... def step(x, state, value, grad):
    ...     updates, state = tx.update(
    ...         grad, state, x, value=value, grad=grad, value_fn=rosenbrock
    ...     )
    ...     return optax.apply_updates(x, updates), state, *tx.outcome(state)[:2]
    >>> for _ in range(50):
    ...     x, state, value, grad = step(x, state, value, grad)
    >>> bool(rosenbrock(x) < 1e-8)
    True
    """

    learning_rate: Rate = None
    scale_init_precond: Static[bool] = True
    linesearch: LineSearch = scale_by_hager_zhang_linesearch(initial_guess_strategy="one")
    family = "curvature"
    usual_rate = 1.0

    def parts(self) -> tuple[Transform, ...]:
        return (
            scale_by_bfgs(self.scale_init_precond),
            *length(self.learning_rate, self.linesearch),
        )
