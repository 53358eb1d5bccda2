"""A solve as a compiled program, one for each function, method and set of shapes."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from fnopt.core import Evaluation, Transform
from fnopt.core.types import Params, PyTree
from fnopt.solve.functions import answers_lists, answers_untraceable
from fnopt.solve.implicit import solve_implicitly
from fnopt.solve.loop import Limits, Solution
from fnopt.solve.program import Program


def compiled_solve(
    caller: str,
    name: str,
    make: Callable[[Callable[[Params], Any]], Evaluation],
    check: Callable[[Any, bool], None],
    fun: Callable[..., Any],
    start: Params,
    args: tuple[Any, ...],
    tx: Transform,
    limits: Limits,
    bounds: Any = None,
    has_aux: bool = False,
    finish: Callable[[Evaluation, Solution, Any], PyTree] | None = None,
) -> tuple[Solution, PyTree]:
    """Minimizes a loss; differentiable by ``args``, what ``fun`` closes over, and ``bounds``.

    A second call with the same functions and other numbers of the same shapes traces nothing.
    Numbers and arrays in ``fun``, ``args`` and ``tx``, where these are trees, are arguments of the
    program; what else they contain is part of it.

    Args:
        caller: the function that was called, for errors.
        name: the name of its argument that is the function, for errors.
        make: ``make(function)``, the evaluation of a function of the parameters, such as
            ``Evaluation.of_loss``.
        check: ``check(shapes, has_aux)``, which refuses a function whose result has other shapes.
        fun: ``fun(x, *args)``, the function; with ``has_aux`` the first of a pair is its result.
        start: the parameters at the start, a tree of floating-point arrays.
        args: further arguments of the function, trees.
        tx: the method.
        limits: when to stop; a ``tol`` of None is :func:`usual_tol`.
        bounds: the box, a pair of trees of arrays like the parameters, which becomes the method's
            ``lower`` and ``upper``; None for none.
        has_aux: whether the function returns a pair.
        finish: ``finish(evaluation, solution, bounds)``, instead of the second result.

    Returns:
        The solution, and the second result of the function there; None without ``has_aux``.
    """
    leaves, treedef = jax.tree.flatten((fun, start, args, tx, limits, bounds))
    numbers = tuple(x if _is_number(x) else None for x in leaves)
    others = tuple(None if _is_number(x) else _Fixed(x) for x in leaves)
    return _run((caller, name, make, check, has_aux, finish, treedef, others), numbers)


def usual_tol(params: Params) -> float:
    """The tolerance where none is given: SciPy's 1e-5 in double precision, 3e-4 in less."""
    dtypes = [x.dtype for x in jax.tree.leaves(params)]
    return 3e-4 if any(jnp.finfo(dtype).eps > 1e-10 for dtype in dtypes) else 1e-5


@functools.partial(jax.jit, static_argnums=(0,))
def _run(structure: Any, numbers: tuple[Any, ...]) -> tuple[Solution, PyTree]:
    caller, name, make, check, has_aux, finish, treedef, others = structure
    leaves = (x if fixed is None else fixed.thing for x, fixed in zip(numbers, others, strict=True))
    fun, start, args, tx, limits, bounds = treedef.unflatten(leaves)
    if limits.tol is None:
        limits = limits._replace(tol=usual_tol(start))
    if bounds is not None:
        start = jax.tree.map(jnp.clip, start, *bounds)
        tx = tx.replace(lower=bounds[0], upper=bounds[1])

    with answers_untraceable(caller, name), answers_lists(caller, name, start, args):
        program = Program(fun, start, *args)
    check(program.shapes, has_aux)

    def problem(inputs: Any) -> Evaluation:
        def function(params: Params) -> Any:
            result = program(inputs[0], params, *inputs[1])
            return result[0] if has_aux else result

        return make(function)

    inputs = program.constants, args
    solution = solve_implicitly(problem, inputs, start, tx, limits, bounds)
    if finish is not None:
        return solution, finish(problem(inputs), solution, bounds)
    aux = program(program.constants, solution.x, *args)[1] if has_aux else None
    return solution, aux


class _Fixed:
    """Something that is part of a program: the same where it is equal, or cannot be compared."""

    def __init__(self, thing: Any) -> None:
        self.thing = thing
        try:
            self.key: Any = hash(thing)
        except TypeError:
            self.key = id(thing)

    def __hash__(self) -> int:
        return self.key

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, _Fixed):
            return False
        return self.thing is other.thing or (
            self.key == other.key and _is_hashable(self.thing) and self.thing == other.thing
        )


def _is_hashable(thing: Any) -> bool:
    try:
        hash(thing)
    except TypeError:
        return False
    return True


def _is_number(x: Any) -> bool:
    """Whether something is an argument of the program rather than a part of it."""
    if isinstance(x, (jax.Array, bool, int, float, complex)):
        return True
    return isinstance(x, (np.ndarray, np.generic)) and x.dtype.kind in "biufcV"
