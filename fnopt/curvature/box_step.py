"""One iteration of L-BFGS-B on a vector: a direction in the box and a line search along it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from fnopt.curvature.bounds import projected_gradient
from fnopt.curvature.cauchy_point import cauchy_point
from fnopt.curvature.compact import Pairs, compact_form, dot, no_pairs, remember
from fnopt.curvature.line import Point
from fnopt.curvature.more_thuente import more_thuente
from fnopt.curvature.subspace_minimum import subspace_minimum


class Step(NamedTuple):
    """Where an iteration leads.

    Attributes:
        position: the parameters, in the box.
        value: the loss there.
        grad: the gradient there.
        pairs: the memory, with the pair of this step.
        evaluations: number of evaluations of loss and gradient.
    """

    position: jax.Array
    value: jax.Array
    grad: jax.Array
    pairs: Pairs
    evaluations: jax.Array


class _Attempt(NamedTuple):
    """The carry from a first attempt to the second, without memory."""

    step: Step
    continues: jax.Array


def box_step(
    evaluate: Callable[[jax.Array], tuple[jax.Array, jax.Array]],
    position: jax.Array,
    value: jax.Array,
    grad: jax.Array,
    box: tuple[jax.Array, jax.Array],
    pairs: Pairs,
    *,
    is_first: jax.Array,
    learning_rate: Any,
    slope_rtol: Any,
    curv_rtol: Any,
    max_linesearch_steps: int,
) -> Step:
    """The step of one iteration; none where the box leaves no gradient, or nothing is better.

    Where a direction does not descend, or nothing along it is better, the memory is emptied and the
    iteration made again without it, as in the authors' code.

    Args:
        evaluate: a function of a position that returns loss and gradient.
        position: the parameters, in the box; a vector, as all others.
        value: the loss there.
        grad: the gradient there.
        box: the lower and the upper bounds.
        pairs: the memory.
        is_first: whether it is the first iteration, whose length is not known from any other.
        learning_rate: the first step of the line search, times the usual one.
        slope_rtol: share of the slope by which the loss must fall.
        curv_rtol: share of the slope that may be left.
        max_linesearch_steps: largest number of evaluations in an attempt.
    """
    low, high = box
    bounded = jnp.isfinite(low) | jnp.isfinite(high)
    boxed = jnp.all(jnp.isfinite(low) & jnp.isfinite(high))
    empty = no_pairs(len(pairs.steps), position.size, grad.dtype)

    def attempt(before: _Attempt) -> _Attempt:
        memory = before.step.pairs
        matrix = compact_form(memory)
        cauchy = cauchy_point(position, grad, low, high, matrix)
        goal = subspace_minimum(position, grad, low, high, matrix, cauchy)
        direction = goal - position
        slope = dot(grad, direction)
        descends = slope < 0
        direction, goal = (
            jnp.where(descends, direction, 0 * grad),
            jnp.where(descends, goal, position),
        )
        unit = jnp.ones_like(slope)
        room = jnp.where(direction < 0, low - position, high - position)
        steps = jnp.where(direction == 0, jnp.inf, room / jnp.where(direction == 0, 1, direction))
        largest = jnp.where(is_first, unit, jnp.maximum(jnp.min(steps), unit))
        largest = jnp.where(jnp.any(bounded), jnp.minimum(largest, 1e10), 1e10 * unit)
        short = jnp.minimum(1 / jnp.sqrt(dot(direction, direction)), unit)
        trial = learning_rate * jnp.where(is_first & ~boxed, short, unit)

        def at(step: jax.Array) -> jax.Array:
            return jnp.where(step == 1, goal, jnp.clip(position + step * direction, low, high))

        def along(step: jax.Array) -> Any:
            value, grad = evaluate(at(step))
            return value, grad, dot(grad, direction)

        def search() -> tuple[Point, jax.Array, jax.Array]:
            return more_thuente(
                along,
                trial,
                value,
                grad,
                slope,
                max_step=largest,
                ftol=slope_rtol,
                gtol=curv_rtol,
                max_evaluations=max_linesearch_steps,
            )

        def rest() -> tuple[Point, jax.Array, jax.Array]:
            none = jnp.zeros((), jnp.int32)
            return Point(0 * slope, value, grad, slope), none, jnp.zeros((), bool)

        point, evaluations, accepted = jax.lax.cond(descends, search, rest)
        reached = jnp.where(accepted, at(point.step), position)
        step, difference = reached - position, point.grad - grad
        product, eps = dot(step, difference), jnp.finfo(grad.dtype).eps
        curved = accepted & (product > -eps * slope * point.step)
        kept = jax.tree.map(lambda x, none: jnp.where(accepted, x, none), memory, empty)
        evaluations = before.step.evaluations + evaluations
        after = Step(reached, point.value, point.grad, kept, evaluations)
        after = after._replace(pairs=remember(kept, step, difference, curved))
        return _Attempt(after, ~accepted & (memory.number > 0))

    none = Step(position, value, grad, pairs, jnp.zeros((), jnp.int32))
    left = projected_gradient(position, grad, low, high)
    moves = jnp.any(left != 0)
    return jax.lax.while_loop(lambda a: a.continues, attempt, _Attempt(none, moves)).step
