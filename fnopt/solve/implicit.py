r"""Derivatives of a solution by the implicit function theorem.

At a solution :math:`x^\star(\theta)` the gradient :math:`g(x, \theta)` of the loss is 0, so that

.. math:: H\,\dot x = -\partial_\theta g\,\dot\theta, \qquad H = \partial_x g

and the derivative costs one linear solve with the Hessian, however many iterations there were. In a
box the variables at a bound move with it, and the equation is that of the free ones.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.custom_derivatives import zero_from_primal

from fnopt.core import Evaluation, Transform
from fnopt.core.types import Params, PyTree
from fnopt.curvature.vectors import ravel, unravel
from fnopt.solve.loop import Limits, Solution, solve

DENSE = 512
"""Variables up to which the Hessian is written down and factored; for more, conjugate gradients."""


@functools.partial(jax.custom_jvp, nondiff_argnums=(0,))
def solve_implicitly(
    problem: Callable[[PyTree], Evaluation],
    inputs: PyTree,
    start: Params,
    tx: Transform,
    limits: Limits,
    bounds: Any,
) -> Solution:
    """As :func:`fnopt.solve.loop.solve`, with derivatives by ``inputs`` and ``bounds``.

    Those by the start, by the method's hyperparameters and by the limits are 0. They are those of a
    stationary point, whether the solve got there or not.

    Args:
        problem: a function of the inputs that returns the evaluation of the loss.
        inputs: a tree of arrays that the loss depends on.
        start: the parameters at the start, in the box.
        tx: the method.
        limits: when to stop.
        bounds: the box, a pair of trees of arrays like the parameters; None for none.
    """
    return solve(problem(inputs), tx, start, limits, bounds)


@functools.partial(solve_implicitly.defjvp, symbolic_zeros=True)
def _solve_jvp(problem: Any, primals: Any, tangents: Any) -> tuple[Solution, Solution]:
    inputs, *_, bounds = primals
    solution = solve_implicitly(problem, *primals)
    leaves, treedef = jax.tree.flatten(inputs)
    directions = jax.tree.leaves(tangents[0])
    moving = [i for i, direction in enumerate(directions) if not _is_zero(direction)]

    def evaluate(moved: list[Any], parts: list[Any]) -> tuple[jax.Array, list[Any]]:
        """The loss and its gradient, of some inputs and of the real parts of the parameters."""
        all_leaves = list(leaves)
        for i, leaf in zip(moving, moved, strict=True):
            all_leaves[i] = leaf
        evaluation = problem(treedef.unflatten(all_leaves))
        value, grad = evaluation.value_and_grad(whole(parts))  # pyright: ignore
        return value, _real_parts(grad)

    def whole(parts: list[Any]) -> Params:
        return _from_real_parts(parts, solution.x)

    parts, slope = _real_parts(solution.x), _real_parts(solution.jac)
    moved = [leaves[i] for i in moving]
    if moving:
        _, (value_dot, grad_dot) = jax.jvp(
            lambda moved: evaluate(moved, parts), (moved,), ([directions[i] for i in moving],)
        )
    else:
        value_dot, grad_dot = jnp.zeros_like(solution.fun), [jnp.zeros_like(x) for x in parts]
    curvature = jax.linearize(lambda parts: evaluate(moved, parts)[1], parts)[1]
    parts_dot = _tangent(curvature, grad_dot, parts, bounds, tangents[-1])
    grad_dot = [a + b for a, b in zip(grad_dot, curvature(parts_dot), strict=True)]
    for g, dot in zip(slope, parts_dot, strict=True):
        value_dot = value_dot + jnp.sum(g * dot).astype(value_dot.dtype)
    zeros = jax.tree.map(zero_from_primal, solution)
    return solution, zeros._replace(x=whole(parts_dot), fun=value_dot, jac=whole(grad_dot))


def _tangent(
    curvature: Callable[[list[Any]], list[Any]],
    grad_dot: list[Any],
    parts: list[Any],
    bounds: Any,
    bounds_dot: Any,
) -> list[Any]:
    """How the solution moves.

    Args:
        curvature: products with the Hessian.
        grad_dot: how the gradient moves where the solution stays.
        parts: the solution.
        bounds, bounds_dot: the box, and how it moves; None for no box.
    """
    if bounds is None:
        return _symmetric_solve(curvature, [-dot for dot in grad_dot])
    low, high = (jax.tree.leaves(bound) for bound in bounds)
    low_dot, high_dot = (map(_instantiated, jax.tree.leaves(dot)) for dot in bounds_dot)
    at_low = [x <= bound for x, bound in zip(parts, low, strict=True)]
    fixed = [at | (x >= bound) for at, x, bound in zip(at_low, parts, high, strict=True)]

    def where(flags: list[Any], yes: Any, no: Any) -> list[Any]:
        return [jnp.where(*leaf) for leaf in zip(flags, yes, no, strict=True)]

    zeros = [jnp.zeros_like(x) for x in parts]
    carried = where(fixed, where(at_low, low_dot, high_dot), zeros)
    target = [-a - b for a, b in zip(grad_dot, curvature(carried), strict=True)]

    def of_free(dot: list[Any]) -> list[Any]:
        return where(fixed, dot, curvature(where(fixed, zeros, dot)))

    free = _symmetric_solve(of_free, where(fixed, zeros, target))
    return [a + b for a, b in zip(free, carried, strict=True)]


def _symmetric_solve(matrix: Callable[[list[Any]], list[Any]], target: list[Any]) -> list[Any]:
    """The solution of a linear equation with a symmetric matrix that is known by its products."""
    vector = ravel(target)  # in single precision at least

    def product(x: jax.Array) -> jax.Array:
        return ravel(matrix(unravel(x, target)))

    def solution(product: Callable[[jax.Array], jax.Array], target: jax.Array) -> jax.Array:
        if vector.size <= DENSE:
            dense = jax.vmap(product)(jnp.eye(vector.size, dtype=vector.dtype))
            return jnp.linalg.solve(dense, target)
        tol = float(jnp.finfo(vector.dtype).eps) ** 0.75
        return jax.scipy.sparse.linalg.cg(product, target, tol=tol)[0]

    solved = jax.lax.custom_linear_solve(product, vector, solution, symmetric=True)
    return unravel(solved, target)


def _real_parts(tree: PyTree) -> list[Any]:
    """The leaves, complex ones as real and imaginary part: the Hessian is linear in these alone."""
    return [
        part
        for x in jax.tree.leaves(tree)
        for part in ((x.real, x.imag) if jnp.iscomplexobj(x) else (x,))
    ]


def _from_real_parts(parts: list[Any], like: PyTree) -> PyTree:
    """The tree that has these parts."""
    rest = iter(parts)
    return jax.tree.map(
        lambda x: jax.lax.complex(next(rest), next(rest)) if jnp.iscomplexobj(x) else next(rest),
        like,
    )


def _is_zero(tangent: Any) -> bool:
    return isinstance(tangent, jax.custom_derivatives.SymbolicZero)


def _instantiated(tangent: Any) -> Any:
    return jnp.zeros(tangent.shape, tangent.dtype) if _is_zero(tangent) else tangent
