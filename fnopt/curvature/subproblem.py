"""The trust-region subproblem, solved exactly by the eigenvalues of its matrix."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from fnopt.core import norm

_MOST = 60  # Newton's iteration converges in about five


def trust_region_subproblem(
    matrix: jax.Array, grad: jax.Array, radius: jax.Array
) -> tuple[jax.Array, jax.Array]:
    r"""The step within a radius that a quadratic model is lowest at, and its decrease.

    .. math:: p = \operatorname{argmin}_{\lVert p \rVert \le \Delta}
        \langle g, p \rangle + \tfrac12 \langle p, H\,p \rangle

    With the eigenvalues :math:`\lambda_i` of :math:`H` the step is :math:`-(H + \lambda I)^{-1} g`
    for the :math:`\lambda \ge \max(0, -\lambda_1)` at which it ends on the boundary, or for 0 where
    it ends inside. :math:`\lambda + \min(\lambda_1, 0)` is what is solved for, by Newton's method
    on :math:`1 / \lVert p \rVert = 1 / \Delta` from below, which rises to the solution. In the hard
    case, where :math:`g` has no part along the lowest eigenvector and the step does not reach the
    boundary, a multiple of that vector is added.

    Eigenvalues of magnitude below :math:`n` units of rounding of the largest count as that number.
    Where the radius is infinite and :math:`H` is not positive definite, the step is
    :math:`-|H|^{-1} g`.

    Args:
        matrix: the symmetric :math:`H`, finite, of n rows.
        grad: the gradient :math:`g`, a vector.
        radius: the radius :math:`\Delta > 0`, inf for no boundary.

    References:
        Moré & Sorensen, *Computing a trust region step*, SIAM Journal on Scientific and Statistical
        Computing 4, 1983, doi:10.1137/0904038; Nocedal & Wright 2006, Section 4.3.
    """
    if not grad.size:
        return grad, jnp.zeros((), grad.dtype)
    values, vectors = jnp.linalg.eigh(matrix)
    largest = jnp.max(jnp.abs(values))
    tiny = grad.size * jnp.finfo(grad.dtype).eps * jnp.where(largest > 0, largest, 1)
    values = jnp.where(jnp.abs(values) <= tiny, tiny, values)
    along = jnp.matmul(vectors.T, grad, precision="highest")
    convex = values[0] > 0
    free = -along / jnp.abs(values)
    inside = ~jnp.isfinite(radius) | (convex & (norm(free) <= radius))
    bounded = _on_boundary(values, along, jnp.where(inside, jnp.ones_like(radius), radius))
    step = jnp.where(inside, free, bounded)
    decrease = -jnp.sum(along * step) - jnp.sum(values * step * step) / 2
    return jnp.matmul(vectors, step, precision="highest"), decrease


def _on_boundary(values: jax.Array, along: jax.Array, radius: jax.Array) -> jax.Array:
    """The step to the boundary in the basis of the eigenvectors."""
    gaps = values - jnp.minimum(values[0], 0)
    target = along / radius  # steps are counted in radii

    def step_at(shift: jax.Array) -> jax.Array:
        divisor = gaps + shift
        # Only in the hard case is there no shift; the direction of the gap then has no gradient.
        return jnp.where(divisor > 0, -target / jnp.where(divisor > 0, divisor, 1), 0)

    def proceeds(carry: Any) -> jax.Array:
        count, _, error = carry
        return (count < _MOST) & (error > 4 * jnp.finfo(radius.dtype).eps)

    def proceed(carry: Any) -> Any:
        count, shift, _ = carry
        step = step_at(shift)
        length = norm(step)
        unit = step / jnp.where(length > 0, length, 1)
        slope = jnp.sum(jnp.where(gaps + shift > 0, unit * unit / (gaps + shift), 0))
        change = jnp.where(slope > 0, (length - 1) / jnp.where(slope > 0, slope, 1), 0)
        # From below it rises, but for rounding.
        larger = shift + jnp.maximum(change, 0)
        return count + 1, larger, jnp.where(larger > shift, length - 1, 0)

    # One element alone is at most as long as all: below the solution, or at it.
    least = jnp.maximum(jnp.max(jnp.abs(target) - gaps), 0)
    start = jnp.zeros((), jnp.int32), least, jnp.ones_like(radius)
    _, shift, _ = jax.lax.while_loop(proceeds, proceed, start)
    step = step_at(shift)
    length = norm(step)
    # The hard case: the rest of the way along the lowest eigenvector, whose gap is 0.
    rest = jnp.sqrt(jnp.maximum((1 - length) * (1 + length), 0))
    away = jnp.where(step[0] < 0, -rest, rest)
    hard = (gaps[0] == 0) & (shift == 0)
    step = step.at[0].add(jnp.where(hard, away, 0))
    return radius * step / jnp.where(hard, 1, jnp.maximum(length, 1))
