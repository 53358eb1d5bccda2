"""A whole deterministic minimization as one compiled loop, with SciPy's names."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax

from fnopt.core import Evaluation
from fnopt.core.entry import entry
from fnopt.core.types import PyTree
from fnopt.solve.checks import answers_scipy, as_args, as_limits, as_start
from fnopt.solve.compiled import compiled_solve
from fnopt.solve.functions import check_finite_start, check_function, check_scalar
from fnopt.solve.methods import as_method, box_for, usual_method
from fnopt.solve.result import OptimizeResult


@answers_scipy
@entry("fnopt.minimize(fun, x0)")
def minimize(
    fun: Callable[..., Any],
    x0: PyTree,
    args: Any = (),
    method: Any = None,
    bounds: Any = None,
    tol: Any = None,
    maxiter: Any = None,
    *,
    ftol: Any = None,
    has_aux: bool = False,
) -> OptimizeResult:
    r"""The minimum of a function near a start, by any optimizer, in one compiled loop.

    The loop is compiled at the first call; another start, other numbers in ``args``, other
    hyperparameters and tolerances run the same program. It works under ``jit``, and under ``vmap``
    over starts, arguments and hyperparameters.

    The solution is differentiable, in forward and reverse mode, by ``args``, by what ``fun``
    closes over, and by the bounds: :math:`\dot x = -H^{-1}\,\partial_\theta g\,\dot\theta` with
    the Hessian :math:`H` there, one linear solve. Up to 512 variables the Hessian is factored; for
    more, the method of conjugate gradients takes its products, and needs it positive definite.
    Where the Hessian is singular, as at minima that form a line, derivatives are not finite.

    Args:
        fun: ``fun(x, *args)``, the function, a real scalar that jax can trace; with ``has_aux`` a
            pair of that and a tree. It is read when it is compiled, with all that it closes over:
            what changes from call to call belongs into ``args``.
        x0: where the search begins: an array or a tree of arrays; integers are converted to
            floating point.
        args: further arguments of ``fun``, a tuple of trees of numbers and arrays.
        method: the name of an optimizer in :func:`fnopt.optimizers`, with its usual rate; one of
            SciPy's names (``"BFGS"``, ``"L-BFGS-B"``, ``"CG"``, ``"Newton-CG"``, ``"trust-ncg"``,
            ``"trust-exact"``); or an optimizer, such as ``fnopt.adam(0.1)``, of optax as well.
            ``"newton_cg"`` if None, with bounds ``"lbfgsb"``.
        bounds: a pair ``(lower, upper)``, each a number, an array or a tree like ``x0``, None for
            no bound; or SciPy's ``Bounds``; or, for a vector ``x0``, a list of tuples ``(low,
            high)``, one for each variable. ``x0`` is moved into them. The method must have
            ``lower`` and ``upper`` as fields, as ``"lbfgsb"`` does.
        tol: the largest magnitude of an element of the gradient at a solution; with bounds, of the
            projected gradient. 1e-5 in double precision, 3e-4 in less, if None.
        maxiter: largest number of iterations, updates of the method; 200 for each variable, and
            1000 at least, if None.
        ftol: relative change of the function, :math:`\lvert f_k - f_{k+1} \rvert \le
            \text{ftol} \max(\lvert f_k \rvert, \lvert f_{k+1} \rvert, 1)`, with which a solve ends
            as well, as L-BFGS-B does; None for no such test.
        has_aux: whether ``fun`` returns a pair; the second is ``aux`` in the result.

    Returns:
        An :class:`~fnopt.solve.OptimizeResult`, with SciPy's fields: ``x``, ``fun``, ``jac``,
        ``success``, ``message`` and counts. Where the solve fails, as of a function that becomes
        NaN, ``x`` is the best point so far, and ``success`` is False.

    Raises:
        TypeError: ``fun`` returns no scalar or cannot be traced; an argument is of another kind.
        ValueError: the function or its gradient is not finite at the start (under ``jit`` and
            ``vmap`` the result's ``status`` is 3); a lower bound is above the upper one; there is
            no method of this name, or it takes no bounds.

    >>> import jax, jax.numpy as jnp, fnopt
    >>> def rosenbrock(x, a=1.0):
    ...     return (a - x[0]) ** 2 + 100 * (x[1] - x[0] ** 2) ** 2
    >>> result = fnopt.minimize(rosenbrock, jnp.array([-1.2, 1.0]))
    >>> bool(result.success), result.x.round(2)
    (True, Array([1., 1.], dtype=float32))

    How the solution depends on an argument:

    >>> jax.jacobian(lambda a: fnopt.minimize(rosenbrock, jnp.zeros(2), a).x)(2.0).round(1)
    Array([1., 4.], dtype=float32)
    """
    args = as_args("minimize", "fun", args)
    check_function("minimize", "fun", fun, args)
    start = as_start("minimize", x0)
    tx = as_method("minimize", usual_method(bounds is not None) if method is None else method)
    box = box_for("minimize", tx, bounds, start)
    size = sum(x.size for x in jax.tree.leaves(start))
    limits = as_limits("minimize", tol, ftol, maxiter, size)
    solution, aux = compiled_solve(
        "minimize", "fun", Evaluation.of_loss, check_scalar,
        fun, start, args, tx, limits, box, bool(has_aux),
    )  # fmt: skip
    result = OptimizeResult(*solution, aux)
    check_finite_start("minimize", result)
    return result
