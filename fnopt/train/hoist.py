"""An optimizer's update in two parts: the evaluations that it needs, and everything else.

A step updates inside a branch, so that nothing that is not finite gets into the state. There XLA
computes a convolution several times slower on a CPU. So evaluations, and what they need, are
computed before the branch. Those in a loop or a branch of the optimizer stay in it: they
would be no faster, and what such a loop writes would have to be copied into the state.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import jax
from jax.extend.core import Literal

from fnopt.core.evaluation import EVALUATION
from fnopt.core.types import PyTree

_CONTROL_FLOW = {"while", "scan", "cond"}


def hoist(update: Callable[..., PyTree], *args: PyTree) -> Callable[..., PyTree]:
    """Runs the evaluations in a function now, and returns a function that runs the rest.

    Run now are the calls of functions made by :func:`fnopt.core.evaluation.evaluation_call` that
    are in no loop and no branch, and all that these calls need.

    Args:
        update: a function that jax can trace; it is traced once.
        *args: its arguments, trees of arrays.

    Returns:
        A function of the same arguments with the same results, for use in a branch. Call it with
        the same values; they are passed again so that their buffers can be written over there.
    """
    closed, shapes = jax.make_jaxpr(update, return_shape=True)(*args)
    program, structure = closed.jaxpr, jax.tree.structure(shapes)
    needed: set[Any] = set()
    first: list[Any] = []
    rest: list[Any] = []
    for equation in reversed(program.eqns):
        if _contains_evaluation(equation) or not needed.isdisjoint(equation.outvars):
            first.append(equation)
            needed.update(x for x in equation.invars if not isinstance(x, Literal))
        else:
            rest.append(equation)

    def with_arguments(values: dict[Any, Any], args: PyTree) -> dict[Any, Any]:
        return values | dict(zip(program.invars, jax.tree.leaves(args), strict=True))

    constants = dict(zip(program.constvars, closed.consts, strict=True))
    known = _run(reversed(first), with_arguments(constants, args))

    def finish(*args: PyTree) -> PyTree:
        values = _run(reversed(rest), with_arguments(known, args))
        return structure.unflatten([_read(values, x) for x in program.outvars])

    return finish


def _run(equations: Iterable[Any], values: dict[Any, Any]) -> dict[Any, Any]:
    """The values of all variables after these equations."""
    values = dict(values)
    for equation in equations:
        primitive = equation.primitive
        bound = primitive.get_bind_params(equation.params)
        # Before jax 0.10 functions were apart from the other parameters.
        functions, params = bound if isinstance(bound, tuple) else ((), bound)
        with equation.ctx.manager:
            results = primitive.bind(
                *functions, *(_read(values, x) for x in equation.invars), **params
            )
        results = results if primitive.multiple_results else [results]
        values.update(zip(equation.outvars, results, strict=True))
    return values


def _read(values: dict[Any, Any], atom: Any) -> Any:
    return atom.val if isinstance(atom, Literal) else values[atom]


def _contains_evaluation(equation: Any) -> bool:
    """Whether an equation is a call of an evaluation, or of a function that calls one."""
    if EVALUATION in str(equation.params.get("name", "")):
        return True
    if equation.primitive.name in _CONTROL_FLOW:
        return False
    return any(
        _contains_evaluation(inner)
        for parameter in equation.params.values()
        for program in (parameter if isinstance(parameter, (tuple, list)) else [parameter])
        for inner in getattr(getattr(program, "jaxpr", program), "eqns", ())
    )
