"""Newton's method in a trust region."""

from __future__ import annotations

from typing import Any

from fnopt.core import Evaluation
from fnopt.core.types import Params, Updates
from fnopt.curvature.dense import RealVector, dense_hessian
from fnopt.curvature.subproblem import trust_region_subproblem
from fnopt.curvature.trust_region_step import Step, TrustRegionStep


class trust_newton(TrustRegionStep):
    r"""Newton's method in a trust region: exact Hessian, exact subproblem, negative curvature used.

    .. math:: p_t = \operatorname{argmin}_{\lVert p \rVert \le \Delta_t}
        \langle g_t, p \rangle + \tfrac12 \langle p, \nabla^2 L(\theta)\,p \rangle, \qquad
        \rho_t = \frac{L(\theta) - L(\theta + p_t)}{m_t(0) - m_t(p_t)}

    :math:`\Delta\theta_t = p_t` if :math:`\rho_t > \eta`, else 0. The radius is a quarter of
    :math:`\lVert p_t \rVert` if :math:`\rho_t < 1/4`, and twice as large if :math:`\rho_t > 3/4`
    for a step to the boundary. The subproblem is solved by :func:`trust_region_subproblem`, the
    hard case included, so that a saddle point is left even where its gradient is 0.

    One update is one trial step: ``update`` receives ``value_fn`` or ``evaluation``, evaluates the
    loss and its gradient once, at the trial point, and the Hessian by a product for each of its n
    columns. A trial at which the loss is not finite is rejected. Memory is :math:`n^2`, time
    :math:`n^3`. It has no reverse-mode
    derivative.

    Args:
        learning_rate: factor :math:`\ge 0` of the step, before it is tried; usually 1.
        initial_trust_radius: the radius :math:`\Delta_1 > 0` of the first step; inf tries the step
            without a boundary first.
        max_trust_radius: largest radius, above 0; None for no limit.
        eta: the ratio :math:`\eta \in [0, 1/4)` above which a step is accepted.

    Raises:
        ValueError: an argument is out of its range, or, in ``update``, parameters or ``value_fn``
            were not given.

    When:
        Up to about a thousand parameters, a smooth loss without noise, far from the minimum or
        not convex. :class:`newton_cg` for more parameters.

    References:
        Moré & Sorensen, *Computing a trust region step*, SIAM Journal on Scientific and Statistical
        Computing 4, 1983, doi:10.1137/0904038; Nocedal & Wright, *Numerical optimization*, 2006,
        Algorithms 4.1 and 4.3.

    >>> import fnopt, jax, jax.numpy as jnp, optax
    >>> def rosenbrock(x):
    ...     return (1 - x[0]) ** 2 + 100 * (x[1] - x[0] ** 2) ** 2
    >>> tx = fnopt.trust_newton()
    >>> @jax.jit
    ... def step(x, state):
    ...     value, grad = jax.value_and_grad(rosenbrock)(x)
    ...     updates, state = tx.update(grad, state, x, value=value, value_fn=rosenbrock)
    ...     return optax.apply_updates(x, updates), state
    >>> x = jnp.array([-1.2, 1.0])
    >>> state = tx.init(x)
    >>> for _ in range(30):
    ...     x, state = step(x, state)
    >>> bool(rosenbrock(x) < 1e-8)
    True
    """

    family = "curvature"

    def step(self, evaluation: Evaluation, params: Params, grads: Updates, state: Any) -> Step:
        vectors = RealVector.of(params)
        matrix = dense_hessian(evaluation, params, vectors)
        radius = state.trust_radius.astype(vectors.dtype)
        step, decrease = trust_region_subproblem(matrix, vectors.pack(grads), radius)
        return Step(vectors.unpack(step), decrease, vectors.size)
