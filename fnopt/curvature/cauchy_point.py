"""The first local minimum of L-BFGS' quadratic model along the projected path of the gradient."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp

from fnopt.curvature.compact import Compact, dot


class CauchyPoint(NamedTuple):
    """The generalized Cauchy point.

    Attributes:
        position: the point.
        free: which elements are not held by a bound there.
        product: c, the product of W transposed with the step to the point.
    """

    position: jax.Array
    free: jax.Array
    product: jax.Array


class _Segment(NamedTuple):
    """The carry from one breakpoint to the next, with the paper's names in comments."""

    next: jax.Array  # which breakpoint, in their order
    start: jax.Array  # t_old
    slope: jax.Array  # f'
    curvature: jax.Array  # f''
    direction: jax.Array  # p, the direction times W
    product: jax.Array  # c
    length: jax.Array  # the minimum from the start on


def cauchy_point(
    position: jax.Array, grad: jax.Array, low: jax.Array, high: jax.Array, matrix: Compact
) -> CauchyPoint:
    r"""Where the quadratic model has its first local minimum on the path :math:`P(x - t\,g)`.

    The path is piecewise linear; the segments are looked at one after the other, in the order of
    the breakpoints, and each costs :math:`O(m^2)`.

    Args:
        position: x, in the box; a vector, as all others.
        grad: the gradient g.
        low: the lower bounds.
        high: the upper bounds.
        matrix: the matrix of the model.

    References:
        Byrd, Lu, Nocedal & Zhu, *A limited memory algorithm for bound constrained optimization*,
        SIAM Journal on Scientific Computing 16, 1995, doi:10.1137/0916069, Algorithm CP.
    """
    theta, middle = matrix.theta, matrix.middle
    held = ((position <= low) & (grad >= 0)) | ((position >= high) & (grad <= 0))
    room = jnp.where(grad < 0, position - high, position - low)
    # A gradient that does not reach the bound in any finite time has no breakpoint.
    breaks = jnp.where(grad == 0, jnp.inf, room / jnp.where(grad == 0, jnp.ones_like(grad), grad))
    breaks = jnp.where(held, jnp.zeros_like(breaks), breaks)
    direction = jnp.where(held, jnp.zeros_like(grad), -grad)
    order = jnp.argsort(breaks)
    slope = -dot(direction, direction)
    product = matrix.project(direction)
    curvature = -theta * slope - dot(product, dot(middle, product))
    smallest = jnp.finfo(grad.dtype).eps * -theta * slope

    def time(s: _Segment) -> jax.Array:
        return breaks[order[jnp.minimum(s.next, breaks.size - 1)]]

    def reaches_the_next(s: _Segment) -> jax.Array:
        at = time(s)
        inside = (s.next < breaks.size) & jnp.isfinite(at)
        return inside & (s.slope < 0) & (at - s.start <= s.length)

    def hold(s: _Segment) -> _Segment:
        """Beyond a breakpoint its element is at the bound."""
        i, at = order[s.next], time(s)
        g, step, w = grad[i], at - s.start, matrix.row(order[s.next])
        moved, c = -at * g, s.product + step * s.direction
        of_row = dot(middle, w)
        slope = s.slope + step * s.curvature + g * g + theta * g * moved - g * dot(of_row, c)
        curvature = s.curvature - theta * g * g
        curvature -= 2 * g * dot(of_row, s.direction) + g * g * dot(of_row, w)
        curvature = jnp.maximum(curvature, smallest)
        return _Segment(
            s.next + 1, at, slope, curvature, s.direction + g * w, c, -slope / curvature
        )

    begin = jnp.sum(held).astype(jnp.int32)
    first = _Segment(
        next=begin,
        start=jnp.zeros_like(slope),
        slope=slope,
        curvature=curvature,
        direction=product,
        product=jnp.zeros_like(product),
        length=-slope / curvature,
    )
    last = jax.lax.while_loop(reaches_the_next, hold, first)
    length = jnp.where(last.slope < 0, last.length, jnp.zeros_like(slope))
    end = last.start + length
    free = (breaks > end) & (low < high)
    at_bound = jnp.where(grad < 0, high, low)
    reached = jnp.clip(position + end * direction, low, high)
    reached = jnp.where(held, position, jnp.where(free, reached, at_bound))
    return CauchyPoint(reached, free, last.product + length * last.direction)
