"""Newton's method by conjugate gradients in a trust region."""

from __future__ import annotations

import dataclasses
from typing import Annotated, Any, NamedTuple

import jax
import jax.numpy as jnp

from fnopt.core import Evaluation, Static, global_norm, vdot, zeros
from fnopt.core.checks import Interval, positive_integer
from fnopt.core.fields import Field
from fnopt.core.moments import cast, computing_dtype
from fnopt.core.ranges import OrNone, Positive
from fnopt.core.types import Params, Updates
from fnopt.curvature.conjugate_gradient import conjugate_gradient
from fnopt.curvature.operators import generalized_gauss_newton, hessian
from fnopt.curvature.trust_region_step import Step, TrustRegionStep

Kind = Annotated[Any, Field(static=True, choices=("hessian", "gauss_newton"))]
Damping = Annotated[Any, Field(Interval("[0, inf)"))]
Share = Annotated[Any, OrNone(Interval("[0, 1]"))]


class NewtonCGState(NamedTuple):
    """What the state has as its ``own``: the norm of the first gradient, the next damping, and, for
    a warm start, the last trial step.
    """

    grad_norm: jax.Array
    damping: jax.Array
    direction: Any


class newton_cg(TrustRegionStep):
    r"""Newton's method without a matrix: conjugate gradients in a trust region.

    .. math:: p_t \approx \operatorname{argmin}_{\lVert p \rVert \le \Delta_t}
        \langle g_t, p \rangle + \tfrac12 \langle p, (B_t + \lambda_t I)\,p \rangle, \qquad
        \rho_t = \frac{L(\theta) - L(\theta + p_t)}{m_t(0) - m_t(p_t)}

    :math:`B_t` is the Hessian or the Gauss-Newton matrix, :math:`m_t` the model with it and without
    damping. Conjugate gradients start at 0 and end at the boundary, at negative curvature, which
    they follow to the boundary, after ``max_cg_steps`` products, or at a residual of
    :math:`\min(r, \sqrt{\lVert g_t \rVert / \lVert g_1 \rVert})\,\lVert g_t \rVert`, so that
    convergence is faster than linear. :math:`\Delta\theta_t = p_t` if :math:`\rho_t > \eta`, else
    0. The radius follows as in :class:`trust_newton`.

    One update is one trial step: ``update`` receives ``value_fn`` or ``evaluation`` and evaluates
    the loss and its gradient once, at the trial point. A product costs about two gradients; no
    matrix is stored. A trial at which the loss is not finite is rejected. There is no
    reverse-mode derivative.

    Args:
        learning_rate: factor :math:`\ge 0` of the step, before it is tried; usually 1.
        initial_trust_radius: the radius :math:`\Delta_1 > 0` of the first step; inf for none.
        max_trust_radius: largest radius, above 0; None for no limit.
        eta: the ratio :math:`\eta \in [0, 1/4)` above which a step is accepted.
        rtol: largest residual :math:`r > 0` that conjugate gradients end at, relative to the
            gradient.
        max_cg_steps: largest number of products in an update, at least 1.
        damping: the damping :math:`\lambda_1 \ge 0` of the first step. It grows by 3/2 where
            :math:`\rho_t < 1/4` and shrinks by 2/3 where :math:`\rho_t > 3/4`; 0 stays 0.
        warm_start: share in [0, 1] of the last trial step at which conjugate gradients start, if
            the model is lower there than at 0; it costs a product. They start at 0 if None.
        curvature: the matrix :math:`B`: ``"hessian"``, or ``"gauss_newton"``, which has no negative
            curvature where the loss is convex in the outputs, for an ``evaluation`` with outputs.

    When:
        A smooth loss of many parameters. With large mini-batches of a network ``damping=0.1``,
        ``warm_start=0.95`` and ``curvature="gauss_newton"``, as in Hessian-free optimization.

    References:
        Steihaug, *The conjugate gradient method and trust regions in large scale optimization*,
        SIAM Journal on Numerical Analysis 20, 1983, doi:10.1137/0720042; Conn, Gould & Toint,
        *Trust-region methods*, SIAM 2000, Section 7.5; Martens, *Deep learning via Hessian-free
        optimization*, ICML 2010, Section 4, for damping and warm start (with his rule for ending
        conjugate gradients, his preconditioner and his line search left out).

    >>> import fnopt, jax, jax.numpy as jnp, optax
    >>> def loss(x):
    ...     return jnp.sum((1 - x[:-1]) ** 2 + 100 * (x[1:] - x[:-1] ** 2) ** 2)
    >>> tx = fnopt.newton_cg()
    >>> @jax.jit
    ... def step(x, state):
    ...     value, grad = jax.value_and_grad(loss)(x)
    ...     updates, state = tx.update(grad, state, x, value=value, value_fn=loss)
    ...     return optax.apply_updates(x, updates), state
    >>> x, state = jnp.zeros(10), tx.init(jnp.zeros(10))
    >>> for _ in range(60):
    ...     x, state = step(x, state)
    >>> bool(loss(x) < 1e-8)
    True
    """

    rtol: Positive = 0.5
    max_cg_steps: Static[int] = 100
    damping: Damping = 0.0
    warm_start: Share = None
    _: dataclasses.KW_ONLY
    curvature: Kind = "hessian"

    family = "curvature"

    def __post_init__(self) -> None:
        super().__post_init__()
        positive_integer("newton_cg: max_cg_steps", self.max_cg_steps)

    def own(self, real: Any, params: Params) -> NewtonCGState:
        start = None
        if self.warm_start is not None:
            start = jax.tree.map(lambda p: zeros(jnp.asarray(p), computing_dtype(p.dtype)), params)
        return NewtonCGState(jnp.zeros((), real), jnp.asarray(self.damping, real), start)

    def own_after(self, own: NewtonCGState, ratio: jax.Array) -> NewtonCGState:
        factor = jnp.where(ratio < 0.25, 3 / 2, jnp.where(ratio > 0.75, 2 / 3, 1))
        return own._replace(damping=cast(factor, ratio.dtype) * own.damping)

    def step(self, evaluation: Evaluation, params: Params, grads: Updates, state: Any) -> Step:
        matrix_of = hessian if self.curvature == "hessian" else generalized_gauss_newton
        operator, damping, last = matrix_of(evaluation, params), state.own.damping, state.own
        size = global_norm(grads)
        first = jnp.where(state.count == 0, size, last.grad_norm)
        share = jnp.sqrt(size / jnp.where(first > 0, first, jnp.ones_like(first)))
        start = last.direction
        if start is not None:
            start = jax.tree.map(lambda d: jnp.asarray(self.warm_start, d.dtype) * d, start)
        solution = conjugate_gradient(
            operator.damped(damping),
            jax.tree.map(jnp.negative, grads),
            max_steps=self.max_cg_steps,
            rtol=jnp.minimum(self.rtol, share),
            radius=state.trust_radius,
            start=start,
        )
        x = solution.x
        # The model itself is without damping.
        decrease = solution.decrease + damping / 2 * vdot(x, x)
        own = NewtonCGState(first, damping, None if start is None else x)
        return Step(x, decrease, solution.products, own)
