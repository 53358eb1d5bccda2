"""Newton's direction, with the Hessian as a matrix."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from fnopt.core import NonNegative, Outcome, Transform, evaluation_of, required
from fnopt.core.checks import float_leaves, refuse_state, updates_and_params
from fnopt.core.moments import cast
from fnopt.core.transform import at_count
from fnopt.core.types import OptState, Params, Updates
from fnopt.curvature.dense import RealVector, dense_hessian, solve_positive


class ScaleByNewtonState(NamedTuple):
    """The number of updates so far, and of products with the Hessian in the last one."""

    count: jax.Array
    products: jax.Array


class scale_by_newton(Transform):
    r"""Newton's direction :math:`u = (|H| + \lambda I)^{-1} g` with :math:`H = \nabla^2 L(\theta)`.

    :math:`|H|` has the magnitudes of the eigenvalues of :math:`H`, so that it is :math:`H` where
    that is positive definite, and :math:`-u` leads away from saddle points. A positive definite
    matrix, as Cholesky's factorization of it with its diagonal scaled to 1 shows, is solved by that
    factorization, for any conditioning. Otherwise the eigenvalues are computed, and those of
    magnitude below :math:`\sqrt{\epsilon}\,\max_i |\lambda_i|`, with the unit of rounding
    :math:`\epsilon`, count as that number.

    ``update`` receives ``value_fn`` or ``evaluation``. Memory is :math:`n^2`, time :math:`n^3`, for
    n parameters; the Hessian takes n products of about two gradients. Where it is not finite, the
    direction is the gradient.

    Args:
        damping: :math:`\lambda \ge 0`, which shortens the step; 0 for none.

    Raises:
        ValueError: ``update`` received no parameters, or no ``value_fn``.

    References:
        Dauphin, Pascanu, Gulcehre, Cho, Ganguli & Bengio, *Identifying and attacking the saddle
        point problem in high-dimensional non-convex optimization*, NeurIPS 2014, arXiv:1406.2572,
        for :math:`|H|`, here of all eigenvalues; Nocedal & Wright, *Numerical optimization*, 2006,
        Section 3.4, for the smallest eigenvalue.
    """

    damping: NonNegative = 0.0

    State = ScaleByNewtonState
    elementwise = alike = True  # of elements in another order the step is that of the same loss

    @property
    def evaluates(self) -> bool | None:
        return True

    def init(self, params: Params) -> ScaleByNewtonState:
        float_leaves("params", params)
        none = jnp.zeros((), jnp.int32)
        return ScaleByNewtonState(none, none)

    def count(self, state: OptState) -> jax.Array:
        return state.count

    def outcome(self, state: OptState) -> Outcome:
        return Outcome(products=state.products)

    def update(
        self, updates: Updates, state: OptState, params: Params = None, **extra_args: Any
    ) -> tuple[Any, Any]:
        if getattr(state, "_fields", None) != ScaleByNewtonState._fields:
            refuse_state(self, state)
        grads, params = updates_and_params(self, updates, params)
        evaluation = evaluation_of(extra_args)
        required(self, "value_fn", evaluation.grad)
        vectors = RealVector.of(params)
        rule = at_count(self, state.count, vectors.dtype)
        matrix = dense_hessian(evaluation, params, vectors)
        direction = solve_positive(matrix, vectors.pack(grads), rule.damping)
        moves = jax.tree.map(lambda u, g: cast(u, g.dtype), vectors.unpack(direction), grads)
        count = jnp.asarray(optax.safe_increment(state.count))
        return moves, ScaleByNewtonState(count, jnp.asarray(vectors.size, jnp.int32))
