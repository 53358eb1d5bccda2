"""Eigenbases of the two sides of matrices: found once, then followed by orthogonal iteration."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp

from fnopt.core.moments import abs_sq, computing_dtype, moment, root
from fnopt.core.types import Numeric, Rows
from fnopt.matrix.products import adjoint, gram
from fnopt.matrix.refresh import refreshed_by_shape


def init_sides(param: jax.Array, most: int) -> dict[str, jax.Array]:
    """The slots of both sides of matrices before the first update.

    Args:
        param: matrices, an array of shape (number, rows, columns).
        most: the longest side that has a basis.

    Returns:
        A statistic, 0, and a basis, the identity, of the left side (the rows) and of the right
        one; arrays of shape (number, 0, 0) for a side that is longer.
    """
    number, *lengths = param.shape
    dtype = computing_dtype(param.dtype)
    slots = {}
    for side, length in zip(("left", "right"), lengths, strict=True):
        shape = (number, length, length) if length <= most else (number, 0, 0)
        slots[side] = jnp.zeros(shape, dtype)
        slots[f"{side}_basis"] = jnp.broadcast_to(jnp.eye(shape[-1], dtype=dtype), shape)
    return slots


def to_bases(x: jax.Array, left: jax.Array, right: jax.Array) -> jax.Array:
    r"""Matrices in the bases of their sides, :math:`Q_L^\top X\,Q_R`.

    Args:
        x: matrices, an array of shape (number, rows, columns).
        left, right: the bases of rows and of columns; of size 0 for a side that has none.
    """
    x = adjoint(left) @ x if left.size else x
    return x @ right if right.size else x


def from_bases(x: jax.Array, left: jax.Array, right: jax.Array) -> jax.Array:
    r"""The inverse of :func:`to_bases`, :math:`Q_L\,X\,Q_R^\top`."""
    x = left @ x if left.size else x
    return x @ adjoint(right) if right.size else x


def rms(x: jax.Array) -> jax.Array:
    """The root of the mean square of each matrix, of shape (number, 1, 1)."""
    return root(jnp.mean(abs_sq(x), axis=(-2, -1), keepdims=True))


def outer_moment(x: jax.Array, old: jax.Array, decay: Numeric, share: Numeric = 1.0) -> jax.Array:
    r"""The moving average of :math:`X X^\top`, times a share; an ``old`` of size 0 stays."""
    return moment(share * gram(x), old, decay) if old.size else old


def eigenvectors(matrices: jax.Array) -> jax.Array:
    """The eigenvectors of symmetric matrices as columns, that of the largest eigenvalue first."""
    return jnp.flip(jnp.linalg.eigh(matrices, symmetrize_input=False)[1], axis=-1)


def orthogonal_iteration(
    matrices: jax.Array, basis: jax.Array, *, ordered: bool = True
) -> jax.Array:
    r"""Bases nearer to the eigenvectors: one step of power iteration, made orthogonal by QR.

    .. math:: Q \leftarrow \operatorname{qr}(P\,Q)

    Args:
        matrices: :math:`P`, symmetric and without negative eigenvalues.
        basis: :math:`Q`, orthogonal.
        ordered: whether QR takes the columns in the order of their estimated eigenvalues, the
            diagonal of :math:`Q^\top P\,Q`, from the largest. Each column stays at its place, so
            that what is kept in the basis needs no permutation.
    """
    image = matrices @ basis
    if not ordered:
        return jnp.linalg.qr(image)[0]
    order = jnp.argsort(-jnp.sum((basis.conj() * image).real, axis=-2), axis=-1)
    columns = jnp.linalg.qr(jnp.take_along_axis(image, order[:, None, :], axis=-1))[0]
    return jnp.take_along_axis(columns, jnp.argsort(order, axis=-1)[:, None, :], axis=-1)


def refreshed_bases(
    rows: Sequence[dict[str, Any]],
    slots: Rows,
    t: Any,
    every: int,
    *,
    staggered: bool = True,
    ordered: bool = True,
) -> list[dict[str, Any]]:
    """The next slots of leaves with the next bases, in one batch for each length of a side.

    At the first update they are the eigenvectors; after it each is brought nearer to them once in
    ``every`` updates.

    Args:
        rows: dicts of next slots, of which those named ``"left"`` and ``"right"`` are statistics.
        slots: named tuples of the slots before, with the bases; see :func:`init_sides`.
        t: the number of this update, 1 for the first.
        every: the number of updates from one step of a basis to its next.
        staggered: whether the bases take turns, those of one length after those of another, so that
            no update takes much longer than the others.
        ordered: see :func:`orthogonal_iteration`.
    """

    def compute(statistic: jax.Array, basis: jax.Array) -> jax.Array:
        # Two branches, of which one reads the other: under vmap both are computed, one by one.
        first = jnp.asarray(t) == 1
        basis = jax.lax.cond(first, lambda: eigenvectors(statistic), lambda: basis)
        iterate = functools.partial(orthogonal_iteration, statistic, basis, ordered=ordered)
        return jax.lax.cond(first, lambda: basis, iterate)

    # All left sides first, so that a stack of matrices is as the same matrices one by one.
    statistics = [row[side] for side in ("left", "right") for row in rows]
    bases = [getattr(s, f"{side}_basis") for side in ("left", "right") for s in slots]
    own = [i for i, basis in enumerate(bases) if basis.size]
    arguments = [bases[i] for i in own], ([statistics[i] for i in own],)
    new = refreshed_by_shape(compute, *arguments, t, every, staggered=staggered)
    for i, basis in zip(own, new, strict=True):
        bases[i] = basis
    pairs = zip(bases[: len(rows)], bases[len(rows) :], strict=True)
    return [
        {**row, "left_basis": left, "right_basis": right}
        for row, (left, right) in zip(rows, pairs, strict=True)
    ]
