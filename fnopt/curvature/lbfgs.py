"""L-BFGS."""

from __future__ import annotations

from fnopt.core import Composed, Rate, Static, Transform
from fnopt.curvature.line import LineSearch
from fnopt.curvature.scale_by_lbfgs import MemorySize, scale_by_lbfgs
from fnopt.curvature.scale_by_zoom_linesearch import scale_by_zoom_linesearch
from fnopt.curvature.search import length


class lbfgs(Composed):
    r"""L-BFGS: Newton's method with curvature from the last changes of the gradient.

    .. math:: \Delta\theta_t = -t\,H_t\,g_t

    with the matrix :math:`H_t` of :class:`scale_by_lbfgs` and the step :math:`t` of the line
    search. The first direction has at most length 1.

    ``update`` needs ``value_fn`` for the line search; ``value`` and ``grad`` save an evaluation
    where they are passed, and the state has those of the next: ``tx.outcome(state)``, or
    ``optax.value_and_grad_from_state``. Unlike optax's it forgets its pairs after a line search
    that failed, leaves out pairs of negative curvature, and adds products of half precision in
    single.

    Args:
        learning_rate: factor of the direction before the line search, :math:`\eta \ge 0`; 1 if
            None.
        memory_size: number of pairs that are kept, :math:`m \ge 1`.
        scale_init_precond: whether the matrix begins with :math:`\gamma\,I` of the newest pair;
            with the identity if not.
        linesearch: a transform that finds the step; None for a step of 1, or of the learning rate.

    When:
        The loss is smooth and has no noise: full batches, small networks, fits to equations; the
        number of parameters may be large. Not with batches that change: the differences of
        gradients are then of the batches.

    References:
        Nocedal, *Updating quasi-Newton matrices with limited storage*, Mathematics of Computation
        35, 1980, doi:10.1090/S0025-5718-1980-0572855-7; Liu & Nocedal, *On the limited memory BFGS
        method for large scale optimization*, Mathematical Programming 45, 1989,
        doi:10.1007/BF01589116.

    >>> import fnopt, jax, jax.numpy as jnp, optax
    >>> def rosenbrock(x):
    ...     return (1 - x[0]) ** 2 + 100 * (x[1] - x[0] ** 2) ** 2
    >>> tx = fnopt.lbfgs()
    >>> x = jnp.array([-1.2, 1.0])
    >>> state = tx.init(x)
    >>> value, grad = jax.value_and_grad(rosenbrock)(x)
    >>> @jax.jit
    ... def step(x, state, value, grad):
    ...     updates, state = tx.update(
    ...         grad, state, x, value=value, grad=grad, value_fn=rosenbrock
    ...     )
    ...     return optax.apply_updates(x, updates), state, *tx.outcome(state)[:2]
    >>> for _ in range(40):
    ...     x, state, value, grad = step(x, state, value, grad)
    >>> bool(rosenbrock(x) < 1e-8)
    True
    """

    learning_rate: Rate = None
    memory_size: MemorySize = 10
    scale_init_precond: Static[bool] = True
    linesearch: LineSearch = scale_by_zoom_linesearch(20, initial_guess_strategy="one")
    family = "curvature"
    usual_rate = 1.0

    def parts(self) -> tuple[Transform, ...]:
        return (
            scale_by_lbfgs(self.memory_size, self.scale_init_precond),
            *length(self.learning_rate, self.linesearch),
        )
