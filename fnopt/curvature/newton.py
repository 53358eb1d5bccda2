"""Newton's method with the Hessian as a matrix."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from fnopt.core import (
    Composed,
    Inner,
    NonNegative,
    Outcome,
    Rate,
    Transform,
    evaluation_of,
    required,
    scale_by_learning_rate,
)
from fnopt.core.checks import float_leaves, leaves_like, refuse_state, same_shape
from fnopt.core.moments import cast
from fnopt.core.transform import at_count
from fnopt.core.types import OptState, Params, Updates
from fnopt.curvature.dense import RealVector, dense_hessian, solve_positive
from fnopt.curvature.scale_by_hager_zhang_linesearch import scale_by_hager_zhang_linesearch


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
        if params is None:
            raise ValueError(
                f"{type(self).__name__} needs the parameters: call update(updates, state, params)"
            )
        evaluation = evaluation_of(extra_args)
        required(self, "value_fn", evaluation.grad)
        paths, grads, treedef = float_leaves("updates", updates)
        here = [jnp.asarray(p) for p in leaves_like(treedef, "params", params, "updates")]
        for path, grad, param in zip(paths, grads, here, strict=True):
            same_shape(path, grad.shape, param.shape, "parameter")
        vectors = RealVector.of(treedef.unflatten(here))
        rule = at_count(self, state.count, vectors.dtype)
        matrix = dense_hessian(evaluation, treedef.unflatten(here), vectors)
        direction = solve_positive(matrix, vectors.pack(treedef.unflatten(grads)), rule.damping)
        moves = jax.tree.leaves(vectors.unpack(direction))
        state = ScaleByNewtonState(
            optax.safe_increment(state.count), jnp.asarray(vectors.size, jnp.int32)
        )
        moves = [cast(move, grad.dtype) for move, grad in zip(moves, grads, strict=True)]
        return treedef.unflatten(moves), state


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
    linesearch: Inner = scale_by_hager_zhang_linesearch(initial_guess_strategy="one")
    family = "curvature"

    def parts(self) -> tuple[Transform, ...]:
        step = scale_by_newton(self.damping), scale_by_learning_rate(self.learning_rate)
        return step if self.linesearch is None else (*step, self.linesearch)
