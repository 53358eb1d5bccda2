"""The arguments of a solver, checked and converted."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from fnopt.core.checks import brief, integer, nearest
from fnopt.core.tracebacks import hides_frames
from fnopt.core.types import Params, PyTree
from fnopt.curvature.bounds import box_of
from fnopt.solve.loop import Limits
from fnopt.solve.scipy_bounds import as_pair

Function = TypeVar("Function", bound=Callable[..., Any])

MOST = 2**31 - 1
"""The largest number of iterations that can be counted."""
_BY_JAX = "jax differentiates fun itself; leave it out"
CURES = {
    "jac": _BY_JAX,
    "grad": _BY_JAX,
    "hess": _BY_JAX,
    "hessp": _BY_JAX,
    "options": "its items are arguments, as maxiter=…, tol=…; those of a method are its own, as in"
    " method=fnopt.lbfgs(memory_size=20)",
    "callback": "the loop is compiled as a whole; print from fun by jax.debug.print(…)",
    "constraints": "add a penalty to fun; for a box there is bounds=(lower, upper)",
    "gtol": "tol is the tolerance of the gradient",
    "max_nfev": "maxiter is the number of iterations",
    "maxfun": "maxiter is the number of iterations",
    "kwargs": "close over them: lambda x: fun(x, name=value)",
    "disp": "print the result",
    "verbose": "print the result",
}
"""What to write for an argument that SciPy has."""


def answers_scipy(function: Function) -> Function:
    """A solver that answers an argument of SciPy's that it does not have."""
    known = inspect.signature(function).parameters

    @hides_frames
    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        for name in kwargs.keys() - known.keys():
            cure = CURES.get(name)
            if cure is None and (near := nearest(name, known)):
                cure = f"did you mean {near!r}?"
            cure = cure or f"it has {', '.join(known)}"
            raise TypeError(f"{function.__name__} has no argument {brief(name, 40)}: {cure}")
        return function(*args, **kwargs)

    return call  # pyright: ignore[reportReturnType]


def as_start(caller: str, x0: PyTree) -> Params:
    """The parameters at the start as floating-point arrays; integers are converted.

    Raises:
        TypeError: a leaf is no number; names its path.
    """

    def convert(path: Any, leaf: Any) -> jax.Array:
        name = "x0" + jax.tree_util.keystr(path)
        array = leaf if isinstance(leaf, jax.Array) else np.asarray(leaf)
        if not (jnp.issubdtype(array.dtype, jnp.number) or array.dtype == bool):
            raise TypeError(
                f"{caller}: {name} is {brief(leaf)} ({type(leaf).__name__}); x0 is an array of"
                f" numbers or a tree of such, where the search begins, as in {caller}(fun, x0)"
            )
        if not jnp.issubdtype(array.dtype, jnp.inexact):
            return jnp.asarray(array, jnp.result_type(float))
        return jnp.asarray(array)

    if x0 is None:
        raise TypeError(
            f"{caller}: x0 is None; it is where the search begins, as in {caller}(fun, x0)"
        )
    return jax.tree_util.tree_map_with_path(convert, x0)


def as_args(caller: str, name: str, args: Any) -> tuple[Any, ...]:
    """The further arguments; one that is no tuple is the only one, as in SciPy.

    Args:
        caller: the function that was called.
        name: the name of its argument that is the function.
        args: the further arguments of that.

    Raises:
        TypeError: one has a leaf that is no number and no array; names its path.
    """
    args = args if isinstance(args, tuple) else (args,)
    for path, leaf in jax.tree_util.tree_leaves_with_path(args):
        if not isinstance(leaf, (bool, int, float, complex)) and not hasattr(leaf, "dtype"):
            raise TypeError(
                f"{caller}: args{jax.tree_util.keystr(path)} is {brief(leaf)}"
                f" ({type(leaf).__name__}), no number or array; close over it, as in"
                f" {caller}(lambda x: {name}(x, option), x0)"
            )
    return args


def as_limits(
    caller: str, tol: Any, ftol: Any, maxiter: Any, size: int, xtol: Any = None
) -> Limits:
    """When to stop, by the arguments of a solver.

    Args:
        caller: the function that was called.
        tol: tolerance of the gradient; None for the usual one.
        ftol: tolerance of the reduction of the loss; None for none.
        maxiter: largest number of iterations; None for 200 for each variable, 1000 at least.
        size: number of variables.
        xtol: tolerance of the change of the variables; None for none.
    """
    for name, value in (("tol", tol), ("ftol", ftol), ("xtol", xtol)):
        if value is None or isinstance(value, Tracer):
            continue
        if not isinstance(value, (int, float, np.generic, np.ndarray, jax.Array)):
            kind = type(value).__name__
            raise TypeError(f"{caller}: {name} must be a number, got {brief(value, 40)} ({kind})")
        if np.ndim(value) or not float(value) >= 0:
            raise ValueError(
                f"{caller}: {name} must be one number that is not negative, got {brief(value, 40)}"
            )
    if maxiter is None:
        maxiter = min(max(1000, 200 * size), MOST)
    elif not isinstance(maxiter, Tracer):
        maxiter = min(integer(f"{caller}: maxiter", maxiter, least=0), MOST)
    ftol, xtol = (-1.0 if x is None else x for x in (ftol, xtol))
    return Limits(tol, ftol, maxiter, xtol)


def as_box(caller: str, bounds: Any, start: Params) -> tuple[PyTree, PyTree] | None:
    """Bounds as a pair of trees of arrays like the parameters; None for none.

    Args:
        caller: the function that was called.
        bounds: bounds, as :func:`~fnopt.solve.scipy_bounds.as_pair` takes them.
        start: the parameters at the start.

    Raises:
        TypeError: it is no such pair, or a parameter is complex.
        ValueError: a lower bound is above the upper one, or a bound is not like its parameter.
    """
    if bounds is None:
        return None
    lower, upper = as_pair(caller, bounds, start)
    treedef = jax.tree.structure(start)
    boxes = []
    for box in box_of(caller, lower, upper, start):
        leaves = zip(box, jax.tree.leaves(start), strict=True)
        boxes.append(
            treedef.unflatten([jnp.broadcast_to(b, x.shape).astype(x.dtype) for b, x in leaves])
        )
    return boxes[0], boxes[1]
