"""The result of a solve, with SciPy's fields."""

from __future__ import annotations

import dataclasses
import functools
import operator
import textwrap
from typing import Any, ClassVar

import jax
import numpy as np
from jax.core import Tracer

from fnopt.core.types import Params, PyTree, Updates
from fnopt.solve.printing import Unquoted, array_type

RUNNING, CONVERGED, OUT_OF_ITERATIONS, NO_PROGRESS, NOT_FINITE = range(-1, 4)
SMALL_REDUCTION, SMALL_STEP = 4, 5
"""The values of a status; the first only while the loop runs. 0 to 3 are those of SciPy's BFGS."""

MESSAGES = {
    CONVERGED: "converged: the gradient is within tol",
    OUT_OF_ITERATIONS: "stopped: maxiter iterations are done",
    NO_PROGRESS: "stopped: rounding allows no further progress, or the method finds none",
    NOT_FINITE: "stopped: the next point, its loss or its gradient is not finite",
    SMALL_REDUCTION: "converged: the relative reduction of the loss is within ftol",
    SMALL_STEP: "converged: the relative change of every variable is within xtol",
}

SUCCESSES = CONVERGED, SMALL_REDUCTION, SMALL_STEP


class Result:
    """What the results of solves share: whether and why they ended, and how they print."""

    loss_name: ClassVar[str] = "fun"
    """The field that has the loss."""
    x: Params
    status: jax.Array

    @property
    def success(self) -> jax.Array:
        """Whether the solve converged, a flag; it can be used under ``jit``."""
        flags = (self.status == status for status in SUCCESSES)
        return functools.reduce(operator.or_, flags)

    @property
    def message(self) -> Any:
        """Why the solve stopped: a string, or an array of strings of many solves.

        Raises:
            TypeError: the result is traced; use ``status``.
        """
        if isinstance(self.status, Tracer):
            raise TypeError(
                f"{type(self).__name__}.message is known outside of jit and vmap alone; inside take"
                " result.status"
            )
        status = np.asarray(self.status)
        if status.ndim == 0:
            return MESSAGES[status.item()]
        return np.array([MESSAGES[x] for x in status.flat], object).reshape(status.shape)

    def __repr__(self) -> str:
        if isinstance(self.status, Tracer) or not hasattr(self.status, "dtype"):
            return f"{type(self).__name__}(x={_shown(self.x, values=False)}, …)"
        status = np.asarray(self.status)
        counts = {name: getattr(self, name) for name in ("nit", "nfev", "njev", "nhev")}
        numbers = ", ".join(f"{name}={_range(x)}" for name, x in counts.items())
        first = f"{self.loss_name}={_range(getattr(self, self.loss_name))}, {numbers}"
        if status.ndim == 0:
            told = f"success={bool(self.success)}", f"message={self.message!r}"
        else:
            solved = np.count_nonzero(np.asarray(self.success))
            which = {MESSAGES[x]: np.count_nonzero(status == x) for x in np.unique(status)}
            told = (
                f"success: {solved} of {status.size}",
                "; ".join(
                    f"{count} {words.partition(':')[0]} ({words.partition(': ')[2]})"
                    for words, count in which.items()
                ),
            )
        parts = (*told, first, f"x={_shown(self.x, values=status.ndim == 0)}")
        lines = (textwrap.fill(part, 74, break_on_hyphens=False) for part in parts)
        body = textwrap.indent(",\n".join(lines), "    ")
        return f"{type(self).__name__}(\n{body},\n)"


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, repr=False)
class OptimizeResult(Result):
    """The result of a solve; under ``vmap`` each array has an axis more.

    Attributes:
        x: the solution, a tree like ``x0``: the point at which the solve converged, otherwise the
            best one that it evaluated.
        fun: the loss there, a scalar.
        jac: the gradient there, a tree like ``x``.
        nit: number of iterations, which are updates of the method.
        nfev: number of evaluations of the loss, alone or with the gradient. What a transformation
            of optax evaluates in its update is not known and not counted.
        njev: number of evaluations of the gradient.
        nhev: number of products with a Hessian or another matrix of curvature.
        status: why it stopped: 0 the gradient is within ``tol``; 4 the reduction of the loss is
            within ``ftol``; 1 ``maxiter``; 2 no further progress; 3 something was not finite.
        aux: the second result of a function with ``has_aux`` at ``x``; otherwise None.
    """

    x: Params
    fun: jax.Array
    jac: Updates
    nit: jax.Array
    nfev: jax.Array
    njev: jax.Array
    nhev: jax.Array
    status: jax.Array
    aux: PyTree = None


def _range(x: Any) -> str:
    """A number, or the smallest and the largest of an array."""
    x = np.asarray(x)
    if x.size == 0:
        return "[]"
    form = "d" if x.dtype.kind in "iu" else ".4g"
    low, high = f"{x.min():{form}}", f"{x.max():{form}}"
    return low if low == high else f"{low} to {high}"


def _shown(tree: PyTree, values: bool) -> str:
    """A tree of few numbers as it is, of a larger one, or without values, dtypes and shapes."""
    leaves = jax.tree.leaves(tree)
    known = all(isinstance(x, (jax.Array, np.ndarray)) for x in leaves)
    if values and known and sum(x.size for x in leaves) <= 12:
        return str(jax.tree.map(_numbers, tree))
    text = str(jax.tree.map(array_type, tree))
    return text if len(text) <= 300 else f"{len(leaves)} arrays"


def _numbers(x: Any) -> Any:
    return Unquoted(np.array2string(np.asarray(x), precision=6, separator=", "))
