"""A whole problem of least squares as one compiled loop, with SciPy's names."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import Any, ClassVar

import jax
import jax.numpy as jnp

from fnopt.core import Evaluation
from fnopt.core.entry import entry
from fnopt.core.types import Params, PyTree, Updates
from fnopt.curvature.bounds import projected_gradient
from fnopt.solve.checks import answers_scipy, as_args, as_limits, as_start
from fnopt.solve.compiled import compiled_solve
from fnopt.solve.functions import check_finite_start, check_function, check_residuals
from fnopt.solve.loop import Solution, largest
from fnopt.solve.methods import as_method, box_for
from fnopt.solve.result import Result


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, repr=False)
class LeastSquaresResult(Result):
    """The result of :func:`fnopt.least_squares`; under ``vmap`` each array has an axis more.

    Attributes:
        x: the solution, a tree like ``x0``: the point at which the solve converged, otherwise the
            best one that it evaluated.
        cost: half the sum of the squared residuals there, a scalar.
        fun: the residuals there, as ``residuals`` returns them.
        jac: their derivatives, an array of residuals times variables; of trees a tree of such. None
            with ``jac=False``.
        grad: the gradient of ``cost``, a tree like ``x``.
        optimality: the largest magnitude of the gradient, in bounds of the projected gradient.
        active_mask: a tree like ``x``: -1 at the lower bound, 1 at the upper one, else 0.
        nit: number of iterations, which are updates of the method.
        nfev: number of evaluations of the residuals, alone or with derivatives.
        njev: number of evaluations of the gradient or the Jacobian.
        nhev: number of products with a matrix of curvature.
        status: why it stopped: 0 the gradient is within ``tol``; 4 the reduction of the cost is
            within ``ftol``; 5 the change of the variables is within ``xtol``; 1 ``maxiter``; 2 no
            further progress; 3 something was not finite.
    """

    x: Params
    cost: jax.Array
    fun: PyTree
    jac: PyTree
    grad: Updates
    optimality: jax.Array
    active_mask: PyTree
    nit: jax.Array
    nfev: jax.Array
    njev: jax.Array
    nhev: jax.Array
    status: jax.Array
    loss_name: ClassVar[str] = "cost"


@answers_scipy
@entry("fnopt.least_squares(residuals, x0)")
def least_squares(
    residuals: Callable[..., Any],
    x0: PyTree,
    args: Any = (),
    method: Any = None,
    bounds: Any = None,
    tol: Any = None,
    maxiter: Any = None,
    *,
    ftol: Any = None,
    xtol: Any = None,
    jac: bool = True,
) -> LeastSquaresResult:
    r"""The parameters with the smallest sum of squared residuals, in one compiled loop.

    .. math:: \min_x \tfrac12 \sum_i r_i(x)^2, \qquad \text{lower} \le x \le \text{upper}

    The loop is compiled at the first call; another start, other data in ``args``, other
    hyperparameters and tolerances run the same program. It works under ``jit``, and under ``vmap``
    over starts and data. The solution is differentiable by ``args``, by what ``residuals`` closes
    over, and by the bounds, as that of :func:`fnopt.minimize` is: one linear solve with the
    whole Hessian, not the Gauss-Newton matrix.

    Args:
        residuals: ``residuals(x, *args)``, an array or a tree of arrays, such as predictions minus
            observations. They may be fewer than the variables. The function is read when it is
            compiled, with all that it closes over: what changes from call to call belongs into
            ``args``.
        x0: where the search begins: an array or a tree of arrays; integers are converted to
            floating point.
        args: further arguments of ``residuals``, a tuple of trees of numbers and arrays.
        method: the name of an optimizer in :func:`fnopt.optimizers`, or an optimizer, such as
            ``fnopt.levenberg_marquardt(solver="cg")``; ``"levenberg_marquardt"`` if None.
        bounds: a pair ``(lower, upper)``, each a number, an array or a tree like ``x0``, None for
            no bound; or SciPy's ``Bounds``. ``x0`` is moved into them.
        tol: the largest magnitude of an element of the gradient at a solution; with bounds, of the
            projected gradient. 1e-8 in double precision, 1e-5 in less, if None.
        maxiter: largest number of iterations, updates of the method; 200 for each variable, and
            1000 at least, if None.
        ftol: the solve ends as well with a reduction of the cost by this share of it or less; 1e-12
            in double precision, 1e-6 in less, if None. SciPy's 1e-8 ends in a flat valley.
        xtol: the solve ends as well where no variable changes by more than this share of it; 1e-8
            in double precision, 1e-5 in less, if None.
        jac: whether the result has the Jacobian, a matrix of residuals times variables.

    Returns:
        A :class:`~fnopt.solve.LeastSquaresResult`, with SciPy's fields: ``x``, ``cost``, ``fun``,
        ``jac``, ``grad``, ``optimality``, ``active_mask``, ``success``, ``message`` and counts.
        Where the solve fails, ``x`` is the best point so far, and ``success`` is False.

    Raises:
        TypeError: ``residuals`` returns no real arrays or cannot be traced; an argument is of
            another kind.
        ValueError: residuals are not finite at the start (under ``jit`` and ``vmap`` the result's
            ``status`` is 3); a lower bound is above the upper one; there is no method of this name,
            or it takes no bounds.

    >>> import jax.numpy as jnp, fnopt
    >>> t = jnp.linspace(0.0, 2.0, 9)
    >>> y = 3.0 * jnp.exp(-0.5 * t)
    >>> def residuals(x, y):
    ...     return x["size"] * jnp.exp(-x["rate"] * t) - y
    >>> result = fnopt.least_squares(residuals, {"size": 1.0, "rate": 0.0}, y)
    >>> {name: round(float(x), 3) for name, x in result.x.items()}
    {'rate': 0.5, 'size': 3.0}
    """
    args = as_args("least_squares", "residuals", args)
    check_function("least_squares", "residuals", residuals, args)
    start = as_start("least_squares", x0)
    if jac and any(jnp.iscomplexobj(x) for x in jax.tree.leaves(start)):
        raise TypeError(
            "least_squares: x0 is complex, and real residuals have no Jacobian by it; give"
            " jac=False and method=fnopt.split_real_and_imaginary(fnopt.levenberg_marquardt())"
        )
    tx = as_method("least_squares", "levenberg_marquardt" if method is None else method)
    box = box_for("least_squares", tx, bounds, start)
    leaves = jax.tree.leaves(start)
    double = all(jnp.finfo(x.dtype).eps < 1e-10 for x in leaves)
    usual = (1e-8, 1e-12, 1e-8) if double else (1e-5, 1e-6, 1e-5)
    tol, ftol, xtol = (u if x is None else x for x, u in zip((tol, ftol, xtol), usual, strict=True))
    size = sum(x.size for x in leaves)
    limits = as_limits("least_squares", tol, ftol, maxiter, size, xtol)._replace(least=0.0)
    solution, rest = compiled_solve(
        "least_squares", "residuals", Evaluation.of_residuals, check_residuals,
        residuals, start, args, tx, limits, box, finish=_with_jacobian if jac else _finish,
    )  # fmt: skip
    check_finite_start("least_squares", solution, "residuals")
    fun, jacobian, optimality, mask = rest
    x, cost, grad, *counts = solution
    return LeastSquaresResult(x, cost, fun, jacobian, grad, optimality, mask, *counts)


def _finish(evaluation: Evaluation, solution: Solution, bounds: Any, jac: bool = False) -> Any:
    """Residuals, Jacobian, optimality and active mask at the solution."""
    x, grad, residuals = solution.x, solution.jac, evaluation.residuals
    assert residuals is not None
    mask = jax.tree.map(lambda x: jnp.zeros(x.shape, jnp.int32), x)
    if bounds is not None:
        grad = projected_gradient(x, grad, *bounds)

        def side(x: jax.Array, low: jax.Array, high: jax.Array) -> jax.Array:
            return jnp.where(x >= high, 1, jnp.where(x <= low, -1, 0)).astype(jnp.int32)

        mask = jax.tree.map(side, x, *bounds)
    return residuals(x), jax.jacfwd(residuals)(x) if jac else None, largest(grad), mask


_with_jacobian = functools.partial(_finish, jac=True)
