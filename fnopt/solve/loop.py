"""The loop of a solve: a method's update, again and again, until a test says stop."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from fnopt.core import Evaluation, Outcome, Transform
from fnopt.core.types import OptState, Params, PyTree, Updates
from fnopt.curvature.bounds import projected_gradient
from fnopt.solve.result import (
    CONVERGED,
    NO_PROGRESS,
    NOT_FINITE,
    OUT_OF_ITERATIONS,
    RUNNING,
    SMALL_REDUCTION,
    SMALL_STEP,
)

PATIENCE = 20
"""Iterations without progress after which there is none to come. A trust region that is far too
large needs several to shrink, and a nonmonotone line search looks back on ten."""


class Limits(NamedTuple):
    """When to stop.

    Attributes:
        tol: largest element of the gradient, or in a box of the projected gradient, at a solution.
        ftol: relative change of the loss in an iteration that is small enough; negative for none.
        maxiter: largest number of iterations.
        xtol: relative change of every variable in an iteration that is small enough; negative for
            none.
        least: the change of a loss smaller than this is relative to this.
    """

    tol: Any
    ftol: Any
    maxiter: Any
    xtol: Any = -1.0
    least: Any = 1.0


class Point(NamedTuple):
    """Parameters, with the loss and the gradient there."""

    params: Params
    value: jax.Array
    grad: Updates


class Solution(NamedTuple):
    """Where a solve ended: the fields of an :class:`~fnopt.solve.OptimizeResult`."""

    x: Params
    fun: jax.Array
    jac: Updates
    nit: jax.Array
    nfev: jax.Array
    njev: jax.Array
    nhev: jax.Array
    status: jax.Array


class _Run(NamedTuple):
    """The carry from one iteration to the next.

    Attributes:
        here: the point to which the last update led.
        best: the point of the smallest loss so far.
        flattest: the smallest of the largest elements of the gradients so far.
        idle: iterations since there was progress.
    """

    here: Point
    best: Point
    flattest: jax.Array
    opt_state: OptState
    nit: jax.Array
    nfev: jax.Array
    njev: jax.Array
    nhev: jax.Array
    idle: jax.Array
    status: jax.Array


def solve(
    evaluation: Evaluation, tx: Transform, start: Params, limits: Limits, bounds: Any = None
) -> Solution:
    """Minimizes a loss by a method, in a compiled loop.

    Each iteration is one update of the method. What its ``outcome`` says of the point it leads to
    is not evaluated again. The loop stops as soon as one test says so; under ``vmap`` it goes on
    until all solves have stopped, and those that have stay as they are.

    Args:
        evaluation: the loss.
        tx: the method; in a box it must keep to it.
        start: the parameters at the start, in the box.
        limits: when to stop.
        bounds: the box, a pair of trees of arrays like the parameters; None for none.

    Returns:
        The point at which it converged, otherwise the best one; see
        :class:`~fnopt.solve.OptimizeResult`.
    """
    value, grad = _value_and_grad(evaluation, start)
    here, zero, one = Point(start, value, grad), jnp.int32(0), jnp.int32(1)
    slope = _slope(here, bounds)
    status = _status(slope, _is_finite(here), limits, jnp.inf, zero, zero)
    run = _Run(here, here, slope, tx.init(start), zero, one, one, zero, zero, status)

    def iterate(run: _Run) -> _Run:
        return _iterate(evaluation, tx, limits, bounds, run)

    run = jax.lax.while_loop(lambda run: run.status == RUNNING, iterate, run)
    x, fun, jac = optax.tree.where(run.status == CONVERGED, run.here, run.best)
    return Solution(x, fun, jac, run.nit, run.nfev, run.njev, run.nhev, run.status)


def _iterate(evaluation: Evaluation, tx: Transform, limits: Limits, bounds: Any, run: _Run) -> _Run:
    """An update, the point it leads to, and the tests."""
    params, value, grad = run.here
    updates, opt_state = tx.update(
        grad,
        run.opt_state,
        params,
        value=value,
        grad=grad,
        **evaluation.extra_args(),
        metric=value,
        evaluations=run.nit,
        key=jax.random.fold_in(jax.random.key(0), run.nit),
    )
    new = optax.apply_updates(params, updates)
    if bounds is not None:  # rounding may have left the box
        new = jax.tree.map(jnp.clip, new, *bounds)
    outcome = tx.outcome(opt_state) or Outcome()
    stays = ~_differs(new, params)
    here, values, grads = _evaluate(evaluation, new, outcome, run.here, stays)

    finite = _is_finite(here)
    moved = _differs(new, params, rounding=2.0)
    slope = _slope(here, bounds)
    flatter = slope < run.flattest
    # A method that knows the loss it leads to lets it fall, or, where rounding hides that, its
    # gradient; those of others may rise for long.
    better = (here.value < run.best.value) | flatter
    idle = jnp.where(moved if outcome.value is None else moved & better, 0, run.idle + 1)
    least = jnp.asarray(limits.least, value.dtype)
    size = jnp.maximum(jnp.maximum(jnp.abs(value), jnp.abs(here.value)), least)
    change = jnp.where(stays, jnp.inf, jnp.abs(value - here.value) / size)
    short = ~stays & ~_differs(new, params, share=limits.xtol)
    nit = run.nit + 1
    return _Run(
        here,
        optax.tree.where(finite & (here.value <= run.best.value), here, run.best),
        jnp.where(flatter, slope, run.flattest),
        opt_state,
        nit,
        run.nfev + values + _count(outcome.values),
        run.njev + grads + _count(outcome.grads),
        run.nhev + _count(outcome.products),
        idle,
        _status(slope, finite, limits, change, idle, nit, short),
    )


def _status(
    slope: jax.Array,
    finite: Any,
    limits: Limits,
    change: Any,
    idle: Any,
    nit: Any,
    short: Any = False,
) -> jax.Array:
    """The first test that says stop, or that the loop goes on."""
    tests = {
        NOT_FINITE: ~finite,
        CONVERGED: slope <= limits.tol,
        SMALL_REDUCTION: change <= limits.ftol,
        SMALL_STEP: jnp.asarray(short),
        NO_PROGRESS: idle >= PATIENCE,
        OUT_OF_ITERATIONS: nit >= limits.maxiter,
    }
    return jnp.select(
        list(tests.values()), [jnp.int32(status) for status in tests], jnp.int32(RUNNING)
    )


def _slope(here: Point, bounds: Any) -> jax.Array:
    """The largest element of the gradient, in a box of the projected gradient."""
    grad = here.grad
    if bounds is not None:
        grad = projected_gradient(here.params, grad, *bounds)
    return largest(grad)


def _evaluate(
    evaluation: Evaluation, params: Params, outcome: Outcome, before: Point, stays: jax.Array
) -> tuple[Point, jax.Array, jax.Array]:
    """The point of these parameters, and how often loss and gradient were evaluated for it.

    Args:
        evaluation: the loss.
        params: the parameters.
        outcome: what the update knows of them.
        before: the point before the update.
        stays: whether they are those before it, of which everything is known.
    """
    value, grad = outcome.value, outcome.grad
    values, grads = int(value is None), int(grad is None)

    def unknown() -> tuple[Any, Any]:
        if value is None and grad is None:
            return _value_and_grad(evaluation, params)
        if value is None:
            return evaluation.value(params), grad  # pyright: ignore[reportOptionalCall]
        return value, evaluation.grad(params)  # pyright: ignore[reportOptionalCall]

    def evaluated() -> tuple[Any, Any]:
        pair = (value, grad) if value is not None and grad is not None else unknown()
        return jax.tree.map(lambda x, like: jnp.asarray(x).astype(like.dtype), pair, before[1:])

    value_and_grad = jax.lax.cond(stays, lambda: tuple(before[1:]), evaluated)
    did = (~stays).astype(jnp.int32)
    return Point(params, *value_and_grad), did * values, did * grads


def _value_and_grad(evaluation: Evaluation, params: Params) -> tuple[Any, Updates]:
    return evaluation.value_and_grad(params)  # pyright: ignore[reportOptionalCall]


def _differs(
    new: PyTree, old: PyTree, rounding: float | None = None, share: Any = None
) -> jax.Array:
    """Whether an element differs; if it is said, by more than some roundings, or a share of it."""

    def differs(x: jax.Array, y: jax.Array) -> jax.Array:
        least = share if rounding is None else rounding * jnp.finfo(x.dtype).eps
        if least is None:
            return jnp.any(x != y)
        return jnp.any(jnp.abs(x - y) > jnp.asarray(least, x.real.dtype) * jnp.abs(y))

    return _any(jax.tree.map(differs, new, old))


def _is_finite(tree: PyTree) -> jax.Array:
    return ~_any(jax.tree.map(lambda x: ~jnp.all(jnp.isfinite(x)), tree))


def _any(flags: PyTree) -> jax.Array:
    return jax.tree.reduce(jnp.logical_or, flags, jnp.bool_(False))


def largest(tree: PyTree) -> jax.Array:
    """The largest magnitude of all elements."""
    sizes = [jnp.max(jnp.abs(x)) for x in jax.tree.leaves(tree) if x.size]
    return jnp.max(jnp.stack([x.astype(jnp.result_type(float)) for x in sizes] or [jnp.zeros(())]))


def _count(number: Any) -> jax.Array:
    return jnp.asarray(number).astype(jnp.int32)
