"""The minimum of L-BFGS' quadratic model over the elements that no bound holds."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from fnopt.curvature.cauchy_point import CauchyPoint
from fnopt.curvature.compact import Compact, dot, unused


def subspace_minimum(
    position: jax.Array,
    grad: jax.Array,
    low: jax.Array,
    high: jax.Array,
    matrix: Compact,
    cauchy: CauchyPoint,
) -> jax.Array:
    r"""The minimum of the model with the held elements where they are, brought into the box.

    By the direct primal method. The minimum is projected on the box; where that is no descent, the
    direction from the Cauchy point to it is cut off at the box instead.

    Args:
        position: x, in the box; a vector, as all others.
        grad: the gradient there.
        low: the lower bounds.
        high: the upper bounds.
        matrix: the matrix of the model.
        cauchy: the generalized Cauchy point.

    References:
        Byrd, Lu, Nocedal & Zhu 1995, Section 5.1; Morales & Nocedal, *Remark on "Algorithm 778:
        L-BFGS-B"*, ACM Transactions on Mathematical Software 38, 2011, doi:10.1145/2049662.2049669.
    """
    theta, free, start = matrix.theta, cauchy.free, cauchy.position
    zero = jnp.zeros_like(grad)
    model_grad = grad + theta * (start - position)
    model_grad -= matrix.expand(dot(matrix.middle, cauchy.product))
    rest = jnp.where(free, -model_grad, zero)
    inverse = jnp.linalg.solve(_reduced_middle(matrix, free), matrix.project(rest)[:, None])[:, 0]
    direction = (rest + jnp.where(free, matrix.expand(inverse), zero) / theta) / theta
    projected = jnp.clip(start + direction, low, high)
    room = jnp.where(direction < 0, low - start, high - start)
    shares = jnp.where(
        direction == 0, jnp.ones_like(direction), room / jnp.where(direction == 0, 1, direction)
    )
    cut = jnp.clip(start + jnp.min(shares, initial=1) * direction, low, high)
    return jnp.where(dot(grad, projected - position) < 0, projected, cut)


def _reduced_middle(matrix: Compact, free: jax.Array) -> jax.Array:
    r""":math:`M^{-1} - W_F^\top W_F / \theta`, with the rows F of W of the free elements.

    Its blocks have no differences of large numbers: what S Sᵀ and the products below the diagonal
    lack is that of the elements that are held.
    """
    steps, differences = matrix.pairs.steps, matrix.pairs.differences
    free_differences = jnp.where(free, differences, jnp.zeros_like(differences))
    held_steps = jnp.where(free, jnp.zeros_like(steps), steps)
    eye = jnp.eye(len(steps), dtype=steps.dtype)
    of_free = dot(steps, free_differences.T)
    of_held = dot(held_steps, differences.T)
    below = jnp.tril(of_held, -1) - jnp.triu(of_free)
    above = -eye - dot(free_differences, differences.T) / matrix.theta
    corner = matrix.theta * dot(held_steps, steps.T) + unused(matrix.pairs)
    return jnp.block([[above, below.T], [below, corner]])
