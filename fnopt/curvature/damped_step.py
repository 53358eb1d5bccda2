"""The trial step of Levenberg-Marquardt methods, and how well their model predicts the loss."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from fnopt.core import Evaluation, global_norm, vdot
from fnopt.core.moments import cast
from fnopt.core.types import Params, Updates
from fnopt.curvature.bounds import box_of
from fnopt.curvature.damped import by_cholesky, by_qr, concatenated, in_box, linearized, times
from fnopt.curvature.dense import RealVector
from fnopt.curvature.operators import generalized_gauss_newton
from fnopt.curvature.preconditioned import solution_by_products
from fnopt.curvature.trust_region import reduction_ratio


class Trial(NamedTuple):
    """A step that was tried.

    Attributes:
        step: the step, a tree like the parameters.
        ratio: the decrease of the loss over the one predicted.
        value: the loss at the parameters.
        new_value: the loss after the step.
        scale: the scale of each parameter, a tree like them.
        length: the norm of the step before the learning rate, in units of the scale.
        reach: the norm of the parameters in these units.
        counts: numbers of losses, Jacobians and products.
    """

    step: Updates
    ratio: jax.Array
    value: jax.Array
    new_value: jax.Array
    scale: Updates
    length: jax.Array
    reach: jax.Array
    counts: tuple[jax.Array, ...]


class _Model(NamedTuple):
    r"""A step h and the model :math:`\langle g, h \rangle + \tfrac12 \langle h, A\,h \rangle`."""

    step: Updates
    linear: jax.Array  # minus the inner product with g
    quadratic: jax.Array
    scale: Updates
    length: jax.Array
    reach: jax.Array
    products: Any
    residuals: jax.Array | None = None


def try_step(
    rule: Any, evaluation: Evaluation, params: Params, grads: Updates, state: Any, value: Any
) -> Trial:
    """A step of the method, tried.

    Args:
        rule: the method, without schedules.
        evaluation: the loss as functions of the parameters.
        params: the parameters.
        grads: the gradient, which residuals do without.
        state: the state of the method.
        value: the loss at the parameters; None where it is to be computed.
    """
    real = state.damping.dtype
    if rule.solver == "cg" or (rule.solver is None and evaluation.residuals is None):
        model = _matrix_free(rule, evaluation, params, grads, state)
    else:
        model = _dense(rule, evaluation, params, grads, state)
    rate = jnp.asarray(rule.learning_rate, real)
    low, high = _box(rule, params)

    def moved(p: jax.Array, h: jax.Array, low: jax.Array, high: jax.Array) -> jax.Array:
        wide = low.dtype
        return cast(jnp.clip(cast(p, wide) + cast(rate, wide) * cast(h, wide), low, high), p.dtype)

    new = jax.tree.map(moved, params, model.step, low, high)
    predicted = rate * model.linear - rate**2 / 2 * model.quadratic
    if model.residuals is not None:
        assert evaluation.residuals is not None
        old, after = model.residuals, concatenated(evaluation.residuals(new), real)
        value, new_value = vdot(old, old) / 2, vdot(after, after) / 2
        # More exact than the difference of the two.
        decrease = vdot(old - after, old + after) / 2
        ratio = reduction_ratio(decrease, jnp.zeros_like(decrease), predicted)
        counts = 2, 1, 0
    else:
        assert evaluation.value is not None
        counts = 1 + (value is None), 0, model.products
        value = cast(jnp.asarray(evaluation.value(params) if value is None else value), real)
        new_value = cast(evaluation.value(new), real)
        ratio = reduction_ratio(value, new_value, predicted)
    ratio = jnp.where((predicted < 0) | ~jnp.isfinite(new_value), -jnp.inf, ratio)
    step = jax.tree.map(lambda q, p: q - p, new, params)
    counts = tuple(jnp.asarray(count, jnp.int32) for count in counts)
    return Trial(step, ratio, value, new_value, *model[3:6], counts)


def _dense(rule: Any, evaluation: Evaluation, params: Params, grads: Updates, state: Any) -> _Model:
    """The step by a matrix, with each parameter in units of its curvature, and within bounds."""
    vectors = RealVector.of(params)
    x, damping = vectors.pack(params), state.damping
    residuals = None
    if rule.solver != "cholesky":
        residuals, jacobian = linearized(evaluation, params, vectors)
        scale, unit = _scales(vectors.pack(state.scale), jnp.linalg.norm(jacobian, axis=0))
        jacobian = jacobian / unit[None]
        solve = by_qr(jacobian, residuals, damping)
        force = times(jacobian.T, residuals)

        def product(z: jax.Array) -> jax.Array:
            return times(jacobian.T, times(jacobian, z))

    else:
        matrix = vectors.matrix(generalized_gauss_newton(evaluation, params))
        roots = jnp.sqrt(jnp.maximum(jnp.diagonal(matrix), 0))
        scale, unit = _scales(vectors.pack(state.scale), roots)
        matrix = matrix / unit[None] / unit[:, None]
        force = vectors.pack(grads) / unit
        solve = by_cholesky(matrix, -force, damping)

        def product(z: jax.Array) -> jax.Array:
            return times(matrix, z)

    def slope(z: jax.Array) -> jax.Array:
        return product(z) + force + damping * z

    pushed = jnp.zeros_like(damping)
    if rule.lower is None and rule.upper is None:
        z = solve(jnp.ones(x.shape, bool), jnp.zeros_like(x))
    else:
        low, high = ((vectors.pack(bound) - x) * unit for bound in _box(rule, params))
        z = in_box(solve, slope, low, high)
        pushed = vdot(jnp.where((z == low) | (z == high), slope(z), 0), z)
    quadratic = vdot(z, product(z))
    # That of a minimum: exact where the product with the gradient is a small difference.
    linear = quadratic + damping * vdot(z, z) - pushed
    products = 0 if residuals is not None else vectors.size
    lengths = global_norm(z), global_norm(unit * x)
    scales = _wide(vectors).unpack(scale)
    return _Model(
        vectors.unpack(z / unit), linear, quadratic, scales, *lengths, products, residuals
    )


def _scales(old: jax.Array, new: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The largest so far, and what is divided by."""
    scale = jnp.maximum(old, jnp.where(jnp.isfinite(new), new, 0))
    return scale, jnp.where(scale > 0, scale, 1)


def _wide(vectors: RealVector) -> RealVector:
    """The vectors of trees in the dtype of the vectors."""
    like = [jnp.zeros(leaf.shape, vectors.dtype) for leaf in vectors.like]
    return RealVector(vectors.treedef, like)


def _matrix_free(
    rule: Any, evaluation: Evaluation, params: Params, grads: Updates, state: Any
) -> _Model:
    """The step by conjugate gradients, with all parameters in one unit."""
    operator = generalized_gauss_newton(evaluation, params)
    direction, products = solution_by_products(rule, operator, grads, state.damping)
    linear = vdot(grads, direction)
    quadratic = linear - state.damping * vdot(direction, direction)
    step = jax.tree.map(jnp.negative, direction)
    lengths = global_norm(step), global_norm(params)
    return _Model(step, linear, quadratic, state.scale, *lengths, products)


def _box(rule: Any, params: Params) -> list[Updates]:
    """The smallest and the largest values of the parameters, as trees like them."""
    leaves, treedef = jax.tree.flatten(params)
    return [
        treedef.unflatten(
            jnp.broadcast_to(bound, leaf.shape) for bound, leaf in zip(side, leaves, strict=True)
        )
        for side in box_of(type(rule).__name__, rule.lower, rule.upper, params)
    ]
