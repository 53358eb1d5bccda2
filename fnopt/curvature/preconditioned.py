"""What methods share that multiply the gradient by the inverse of a damped matrix of curvature."""

from __future__ import annotations

from typing import Annotated, Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from fnopt.core import (
    Evaluation,
    NonNegative,
    Outcome,
    Static,
    Transform,
    evaluation_of,
    vdot,
)
from fnopt.core.checks import float_leaves, positive_integer, refuse_state, updates_and_params
from fnopt.core.fields import Field
from fnopt.core.moments import cast
from fnopt.core.transform import at_count
from fnopt.core.types import OptState, Params, Updates
from fnopt.curvature.conjugate_gradient import conjugate_gradient
from fnopt.curvature.dense import RealVector, solve_positive
from fnopt.curvature.linear_operator import LinearOperator

Solver = Annotated[Any, Field(static=True, choices=("cg", "cholesky"))]
"""How a damped system is solved: by products alone, or with a dense matrix."""


class PreconditionedState(NamedTuple):
    """State of a method that solves a damped system in each update.

    Attributes:
        count: number of updates so far.
        products: number of products with the matrix in the last update.
    """

    count: jax.Array
    products: jax.Array


class Preconditioned(Transform):
    r"""Replaces the gradient by :math:`(A + \lambda I)^{-1} g` for a matrix A of the evaluation."""

    damping: NonNegative = 1e-3
    solver: Solver = "cg"
    max_cg_steps: Static[int] = 20
    rtol: NonNegative = 1e-4
    family = ""

    State = PreconditionedState

    def __post_init__(self) -> None:
        super().__post_init__()
        positive_integer(f"{type(self).__name__}: max_cg_steps", self.max_cg_steps)

    def matrix(self, evaluation: Evaluation, params: Params) -> LinearOperator:
        """The matrix A of curvature at the parameters, positive semidefinite."""
        raise NotImplementedError

    def length(self, square: jax.Array) -> Any:
        """The factor of a direction d whose square :math:`\\langle d, A d \\rangle` is known."""
        return jnp.ones_like(square)

    @property
    def evaluates(self) -> bool | None:
        return True

    def init(self, params: Params) -> PreconditionedState:
        refuse_complex(self, params)
        return PreconditionedState(jnp.zeros((), jnp.int32), jnp.zeros((), jnp.int32))

    def update(
        self, updates: Updates, state: OptState, params: Params = None, **extra_args: Any
    ) -> tuple[Any, Any]:
        if getattr(state, "_fields", None) != PreconditionedState._fields:
            refuse_state(self, state)
        params = params_like(self, updates, params)
        operator = self.matrix(evaluation_of(extra_args), params)
        wide = jax.tree.map(lambda g, p: cast(g, p.dtype), updates, params)
        rule = at_count(self, state.count, RealVector.of(params).dtype)
        if self.solver == "cg":
            direction, products = solution_by_products(rule, operator, wide, rule.damping)
        else:
            direction, products = solution_by_factor(operator, wide, rule.damping)
        square = vdot(wide, direction) - rule.damping * vdot(direction, direction)
        factor = rule.length(square)
        direction = jax.tree.map(
            lambda d, g: cast(cast(factor, d.dtype) * d, g.dtype), direction, updates
        )
        count: Any = optax.safe_increment(state.count)
        return direction, PreconditionedState(count, products)

    def count(self, state: OptState) -> jax.Array:
        return state.count

    def outcome(self, state: OptState) -> Outcome | None:
        return Outcome(products=state.products)


def solution_by_products(
    rule: Any, operator: LinearOperator, b: Updates, damping: Any
) -> tuple[Any, jax.Array]:
    r"""The solution of :math:`(A + \lambda I)\,x = b` by conjugate gradients.

    Args:
        rule: a transform with ``max_cg_steps`` and ``rtol``.
        operator: A.
        b: a tree like the parameters.
        damping: :math:`\lambda`.

    Returns:
        A tree, and the number of products.
    """
    solved = conjugate_gradient(
        operator.damped(damping), b, max_steps=rule.max_cg_steps, rtol=rule.rtol
    )
    return solved.x, solved.products


def solution_by_factor(operator: LinearOperator, b: Updates, damping: Any) -> tuple[Any, jax.Array]:
    """The same by a dense matrix; negative eigenvalues count as positive ones."""
    vectors = RealVector.of(operator.like)
    damping = jnp.asarray(damping, vectors.dtype)
    x = solve_positive(vectors.matrix(operator), vectors.pack(b), damping)
    return vectors.unpack(x), jnp.asarray(vectors.size, jnp.int32)


def refuse_complex(transform: Transform, params: Params) -> None:
    """Raises TypeError where a parameter is not real and floating, naming the cure."""
    for path, leaf in zip(*float_leaves("params", params)[:2], strict=True):
        if jnp.iscomplexobj(leaf):
            raise TypeError(
                f"{type(transform).__name__}: {path} is complex; optimize its parts:"
                f" fnopt.split_real_and_imaginary({type(transform).__name__}(…))"
            )


def params_like(transform: Transform, updates: Updates, params: Params) -> Any:
    """The parameters as arrays, if they are real and like the updates."""
    if params is not None:
        refuse_complex(transform, params)
    return updates_and_params(transform, updates, params)[1]
