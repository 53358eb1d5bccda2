"""The compact form of L-BFGS' matrix: a multiple of the identity and a matrix of small rank."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp


class Pairs(NamedTuple):
    """The last steps and differences of gradients, the newest in the last row.

    Each pair is divided by the root of its inner product, which therefore is 1.

    Attributes:
        number: how many rows are in use.
        steps: S, of m rows.
        differences: Y, of m rows.
    """

    number: jax.Array
    steps: jax.Array
    differences: jax.Array


class Compact(NamedTuple):
    r"""The matrix :math:`B = \theta I - W M W^\top`, with :math:`W = [Y, \theta S]`.

    Attributes:
        theta: the multiple of the identity.
        pairs: the pairs that are the columns of W.
        middle: M, with 2m rows.
    """

    theta: jax.Array
    pairs: Pairs
    middle: jax.Array

    def project(self, x: jax.Array) -> jax.Array:
        r"""The product :math:`W^\top x`."""
        of_differences, of_steps = (dot(rows, x) for rows in self._rows)
        return jnp.concatenate([of_differences, self.theta * of_steps])

    def expand(self, p: jax.Array) -> jax.Array:
        """The product W p."""
        (differences, steps), (a, b) = self._rows, jnp.split(p, 2)
        return dot(a, differences) + self.theta * dot(b, steps)

    def row(self, i: jax.Array) -> jax.Array:
        """The row of W that belongs to an element."""
        differences, steps = (jax.lax.dynamic_index_in_dim(x, i, 1, False) for x in self._rows)
        return jnp.concatenate([differences, self.theta * steps])

    @property
    def _rows(self) -> tuple[jax.Array, jax.Array]:
        return self.pairs.differences, self.pairs.steps


def no_pairs(memory_size: int, size: int, dtype: jax.typing.DTypeLike) -> Pairs:
    """A memory without pairs."""
    empty = jnp.zeros((memory_size, size), dtype)
    return Pairs(jnp.zeros((), jnp.int32), empty, empty)


def remember(pairs: Pairs, step: jax.Array, difference: jax.Array, keep: jax.Array) -> Pairs:
    """The memory with one more pair, instead of the oldest, where ``keep``."""
    product = dot(step, difference)
    scale = jnp.sqrt(jnp.where(keep, product, jnp.ones_like(product)))

    def store(rows: jax.Array, new: jax.Array) -> jax.Array:
        return jnp.where(keep, jnp.roll(rows, -1, 0).at[-1].set(new / scale), rows)

    number = jnp.minimum(pairs.number + keep.astype(jnp.int32), len(pairs.steps))
    steps, differences = store(pairs.steps, step), store(pairs.differences, difference)
    return Pairs(number, steps, differences)


def compact_form(pairs: Pairs) -> Compact:
    r"""The matrix of some pairs, :math:`\theta = \lVert y \rVert^2` of the newest; I without any.

    .. math:: M = \begin{bmatrix} -I & L^\top \\ L & \theta\,S S^\top \end{bmatrix}^{-1},
        \qquad L_{ij} = \langle s_i, y_j \rangle \text{ for } i > j

    References:
        Byrd, Nocedal & Schnabel, *Representations of quasi-Newton matrices and their use in limited
        memory methods*, Mathematical Programming 63, 1994, doi:10.1007/BF01582063, Theorem 2.3.
    """
    newest = pairs.differences[-1]
    some = pairs.number > 0
    theta = dot(newest, newest)
    theta = jnp.where(some, theta, jnp.ones_like(theta))
    lower = jnp.tril(dot(pairs.steps, pairs.differences.T), -1)
    eye = jnp.eye(len(lower), dtype=lower.dtype)
    # Its inverse by blocks, with the Cholesky factor of the Schur complement of -I.
    complement = theta * dot(pairs.steps, pairs.steps.T) + dot(lower, lower.T) + unused(pairs)
    factor = jax.scipy.linalg.cho_factor(complement, lower=True)
    below = jax.scipy.linalg.cho_solve(factor, jnp.concatenate([lower, eye], 1))
    above = dot(lower.T, below) - jnp.concatenate([eye, jnp.zeros_like(eye)], 1)
    return Compact(theta, pairs, jnp.concatenate([above, below]))


def unused(pairs: Pairs) -> jax.Array:
    """A diagonal matrix with 1 for each row that is not in use, so that none is singular there."""
    size = len(pairs.steps)
    empty = jnp.arange(size, dtype=jnp.int32) < size - pairs.number
    return jnp.diag(empty.astype(pairs.steps.dtype))


def dot(x: jax.Array, y: jax.Array) -> jax.Array:
    """The product of matrices or vectors in full precision, on every device."""
    return jnp.matmul(x, y, precision="highest")
