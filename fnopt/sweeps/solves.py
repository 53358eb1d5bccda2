"""Many minimizations as one program: methods, starts and data sets side by side."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from fnopt.core.checks import brief
from fnopt.core.entry import entry
from fnopt.core.stacking import groups_of, stacked
from fnopt.core.types import PyTree
from fnopt.solve.checks import as_args, as_limits
from fnopt.solve.methods import usual_method
from fnopt.solve.minimize import minimize
from fnopt.solve.result import OptimizeResult
from fnopt.sweeps.arguments import as_entrants
from fnopt.sweeps.data import QUARTILES, Entrant
from fnopt.sweeps.solves_table import finite, table_of_solves
from fnopt.sweeps.table import Table


class BestSolves(NamedTuple):
    """The lowest minima that one of several methods found.

    Attributes:
        method: the method.
        fun: the lowest value for each data set, shape (data sets,); a number without data sets.
        x: the points of these, each array with a first axis of the data sets, if there are any.
    """

    method: Entrant
    fun: np.ndarray
    x: PyTree


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Solves:
    """The results of many minimizations; it prints as the table of quantiles.

    Attributes:
        entrants: the methods.
        results: for each method the results, each field with the axes (starts, data sets) first,
            or (starts,) without data sets.
        programs: number of compiled programs, one for each structure of methods.
    """

    entrants: tuple[Entrant, ...]
    results: tuple[OptimizeResult, ...]
    programs: int

    def quantiles(self, shares: Sequence[float] = QUARTILES) -> Table:
        """How each method did, quantiles over the starts for each data set.

        Args:
            shares: shares of the quantiles, in [0, 1]; by default the median and the quartiles.

        Returns:
            A table with a row for each method, or each method and data set. Its columns are
            ``method``, its hyperparameters, ``data_set`` (its place), ``starts`` (how many),
            ``converged`` (from how many), ``lowest`` (the lowest minimum), the quantiles of the
            minima (``median``, …), and ``nit``, the median number of iterations. A minimum that is
            not finite counts as the worst.

        Raises:
            ValueError: a share is out of its range.
        """
        return table_of_solves(self.entrants, self.results, shares)

    def best(self) -> BestSolves:
        """The method with the lowest minima, and for each data set its lowest one from any start.

        Returns:
            The ``method`` whose lowest values have the smallest mean over the data sets; for each
            data set its lowest value, ``fun``, and the point there, ``x``.
        """
        values = [finite(result.fun) for result in self.results]
        lowest = [value.min(axis=0) for value in values]
        best = int(np.argmin([np.mean(value) for value in lowest]))
        where = values[best].argmin(axis=0)

        def pick(x: Any) -> np.ndarray:
            x = np.asarray(x)
            return x[where] if where.ndim == 0 else x[where, np.arange(len(where))]

        points = jax.tree.map(pick, self.results[best].x)
        return BestSolves(self.entrants[best], lowest[best], points)

    def __repr__(self) -> str:
        return repr(self.quantiles())

    def _repr_html_(self) -> str:
        return self.quantiles()._repr_html_()


@entry("solves(fun, starts)")
def solves(
    fun: Callable[..., Any],
    starts: PyTree,
    args: Any = (),
    methods: Any = None,
    *,
    data_sets: PyTree = None,
    tol: Any = None,
    maxiter: Any = None,
) -> Solves:
    """Minimizes a function by every method, from every start and on every data set.

    All solves by methods of one structure are one program; each is that of
    :func:`fnopt.minimize` alone. One that has ended waits for the others, and changes no more.

    Args:
        fun: ``fun(x, *args)``, or ``fun(x, data, *args)`` with ``data_sets``: a real scalar that
            jax can trace.
        starts: where the searches begin: an array or a tree of arrays like ``x``, with a first axis
            of the starts.
        args: further arguments of ``fun``, a tuple, the same in all solves.
        methods: optimizers or their names, one or a list or a dict of them, or what
            :func:`fnopt.sweeps.grid` returns; ``"newton_cg"`` if None.
        data_sets: an array or a tree of arrays with a first axis of the data sets; None for none.
        tol: as of :func:`fnopt.minimize`; another one is the same program.
        maxiter: as of :func:`fnopt.minimize`, likewise.

    Returns:
        The results, in the order of the methods.

    Raises:
        TypeError: ``fun`` is no function of this kind, a method is none, or ``tol`` or ``maxiter``
            is no number.
        ValueError: there is no start, no data set or no method; the arrays differ in the number of
            these; or ``tol`` or ``maxiter`` is negative.

    >>> import fnopt
    >>> import jax.numpy as jnp
    >>> def distance(x, centre):
    ...     return jnp.sum((x - centre) ** 2)
    >>> centres = jnp.array([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])
    >>> found = solves(distance, jnp.zeros((2, 2)), methods=["trust_newton"], data_sets=centres)
    >>> found.results[0].fun.shape, found.best().x.round(3).tolist()
    ((2, 3), [[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])
    """
    entrants = as_entrants(usual_method(False) if methods is None else methods, "solves", "methods")
    tol, maxiter = _as_limits(tol, maxiter)
    args = as_args("solves", "fun", args)
    starts = jax.tree.map(_floating, starts)
    _check_axis("starts", starts)
    if data_sets is not None:
        _check_axis("data_sets", data_sets)
    _check_fun(fun, starts, data_sets, args)
    groups = groups_of(entrant.tx for entrant in entrants)
    results: dict[int, OptimizeResult] = {}
    for group in groups:
        optimizers = stacked([entrants[place].tx for place in group])
        found = _solve_all(fun, len(group), tol, maxiter, optimizers, starts, data_sets, args)
        for i, place in enumerate(group):
            results[place] = jax.tree.map(lambda x, i=i: x[i], found)
    return Solves(entrants, tuple(results[i] for i in range(len(entrants))), len(groups))


@functools.partial(jax.jit, static_argnums=(0, 1))
def _solve_all(
    fun: Callable[..., Any],
    number: int,
    tol: Any,
    maxiter: Any,
    optimizers: Any,
    starts: PyTree,
    data_sets: PyTree,
    args: tuple[Any, ...],
) -> OptimizeResult:
    def solve(tx: Any, start: PyTree, data: Any) -> OptimizeResult:
        own = args if data_sets is None else (data, *args)
        return minimize(fun, start, own, tx, tol=tol, maxiter=maxiter)

    if data_sets is not None:
        solve = jax.vmap(solve, in_axes=(None, None, 0))
    of_starts = jax.vmap(solve, in_axes=(None, 0, None))
    # Methods of optax have no leaves that would say how many they are.
    return jax.vmap(of_starts, in_axes=(0, None, None), axis_size=number)(
        optimizers, starts, data_sets
    )


def _as_limits(tol: Any, maxiter: Any) -> tuple[Any, Any]:
    """When to stop, as Python's numbers, so that those of all libraries are one program."""
    limits = as_limits("solves", tol, None, maxiter, 1)
    tol = tol if tol is None or isinstance(tol, Tracer) else float(tol)
    return tol, None if maxiter is None else limits.maxiter


def _check_fun(fun: Any, starts: PyTree, data_sets: PyTree, args: tuple[Any, ...]) -> None:
    """Refuses a function that fails at a start; :func:`fnopt.minimize` says the rest."""
    if not callable(fun):
        return
    start, data = jax.tree.map(lambda x: x[0], (starts, data_sets))
    own = args if data_sets is None else (data, *args)
    try:
        jax.eval_shape(fun, start, *own)
    except Exception as error:
        shapes = [np.shape(x) for x in jax.tree.leaves(start)]
        called = ", ".join(["x", *["data"] * (data_sets is not None), *["*args"] * bool(args)])
        raise TypeError(
            f"solves: fun fails with {type(error).__name__}, {brief(str(error), 120)}, at a start"
            f" of shape {brief(shapes[0] if len(shapes) == 1 else shapes, 60)}; starts has a first"
            f" axis of the starts, and it is called as fun({called})"
        ) from error


def _floating(x: Any) -> jax.Array:
    x = jnp.asarray(x)
    return x if jnp.issubdtype(x.dtype, jnp.inexact) else x.astype(float)


def _check_axis(name: str, tree: PyTree) -> None:
    """Refuses arrays without a first axis, or whose first axes differ."""
    shapes = [np.shape(x) for x in jax.tree.leaves(tree)]
    if len({shape[:1] for shape in shapes}) != 1 or shapes[0][:1] in ((), (0,)):
        raise ValueError(
            f"solves: all arrays of {name} must have a first axis of the same length, at least 1;"
            f" they have shapes {brief(shapes, 80)}"
        )
