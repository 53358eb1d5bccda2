"""Nonlinear conjugate gradients."""

from __future__ import annotations

from fnopt.core import Composed, Positive, Rate, Transform
from fnopt.curvature.line import LineSearch
from fnopt.curvature.scale_by_hager_zhang_linesearch import scale_by_hager_zhang_linesearch
from fnopt.curvature.scale_by_nonlinear_cg import Variant, scale_by_nonlinear_cg
from fnopt.curvature.search import length


class nonlinear_cg(Composed):
    r"""Nonlinear conjugate gradients: the gradient and a share of the last direction.

    .. math:: \Delta\theta_t = -\eta_t\,\lambda_t\,u_t, \qquad u_t = g_t + \beta_t\,u_{t-1}

    with :math:`\beta_t` as :class:`scale_by_nonlinear_cg` has it and :math:`\lambda_t` from the
    line search. ``update`` receives ``value_fn``, and ``value`` and ``grad`` where they are known.

    Args:
        learning_rate: factor :math:`\eta \ge 0` of the direction, which the line search multiplies.
        variant: the formula of :math:`\beta_t`: ``"polak_ribiere"``, ``"hager_zhang"``,
            ``"fletcher_reeves"``, ``"hestenes_stiefel"`` or ``"dai_yuan"``.
        eta: truncation above 0 of Hager and Zhang's formula; the others do not use it.
        linesearch: the transform that finds :math:`\lambda_t`; None for 1. The directions need one
            that leaves a small share of the slope.

    When:
        The loss is smooth and has no noise, and L-BFGS' memory is too much: the state is three
        times the parameters. Not with batches that change.

    References:
        Polak & Ribière, *Note sur la convergence de méthodes de directions conjuguées*, Revue
        française d'informatique et de recherche opérationnelle 3, 1969; its positive part: Gilbert
        & Nocedal, SIAM Journal on Optimization 2, 1992, doi:10.1137/0802003. Hager & Zhang, *A new
        conjugate gradient method with guaranteed descent and an efficient line search*, SIAM
        Journal on Optimization 16, 2005, doi:10.1137/030601880, eqs. 1.5 and 1.6. The others:
        Hager & Zhang, *A survey of nonlinear conjugate gradient methods*, Pacific Journal of
        Optimization 2, 2006.

    >>> import fnopt, jax, jax.numpy as jnp, optax
    >>> def loss(x):
    ...     return jnp.sum(jnp.array([1.0, 10.0, 100.0]) * (x - 1.0) ** 2)
    >>> tx = fnopt.nonlinear_cg()
    >>> @jax.jit
    ... def step(x, state):
    ...     value, grad = jax.value_and_grad(loss)(x)
    ...     updates, state = tx.update(grad, state, x, value=value, grad=grad, value_fn=loss)
    ...     return optax.apply_updates(x, updates), state
    >>> x = jnp.zeros(3)
    >>> state = tx.init(x)
    >>> for _ in range(10):
    ...     x, state = step(x, state)
    >>> print(x.round(3))
    [1. 1. 1.]
    """

    learning_rate: Rate = 1.0
    variant: Variant = "polak_ribiere"
    eta: Positive = 0.01
    linesearch: LineSearch = scale_by_hager_zhang_linesearch(sigma=0.1, delta=0.01)
    family = "curvature"

    def parts(self) -> tuple[Transform, ...]:
        return (
            scale_by_nonlinear_cg(self.variant, self.eta),
            *length(self.learning_rate, self.linesearch),
        )
