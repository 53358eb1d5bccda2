"""The memory of L-BFGS: pairs of steps and of differences of gradients, and their direction."""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from fnopt.core import computing_dtype, vdot, zeros
from fnopt.core.moments import cast
from fnopt.curvature.pairs import along, inverse_hessian_product, store
from fnopt.curvature.pairs import history as rows_like


class LBFGSState(NamedTuple):
    """The state of L-BFGS under torch's names, and the counts of updates and of stored pairs.

    ``old_dirs`` are the differences :math:`y` of gradients and ``old_stps`` the steps :math:`s`:
    the pair number ``num_old``, from 0, is in row ``num_old % history_size``.
    """

    count: jax.Array
    func_evals: jax.Array
    n_iter: jax.Array
    d: Any
    t: jax.Array
    old_dirs: Any
    old_stps: Any
    num_old: jax.Array
    ro: jax.Array
    H_diag: jax.Array
    prev_flat_grad: Any
    prev_loss: jax.Array


def vector(param: jax.Array) -> jax.Array:
    return zeros(param, computing_dtype(param.dtype))


def history(param: jax.Array, rows: int) -> jax.Array:
    """Rows of vectors like a parameter, sharded as it is."""
    return rows_like(vector(param), rows)


def _components(leaves: list[jax.Array]) -> list[jax.Array]:
    """The magnitudes of all real numbers in a list of arrays."""
    parts = []
    for leaf in leaves:
        parts += [leaf.real, leaf.imag] if jnp.iscomplexobj(leaf) else [leaf]
    wide = computing_dtype(*(x.dtype for x in parts))
    return [jnp.abs(cast(x, wide)) for x in parts]


def largest(leaves: list[jax.Array]) -> jax.Array:
    r"""The norm :math:`\lVert x \rVert_\infty`."""
    parts = [jnp.max(x, initial=0) for x in _components(leaves)]
    return functools.reduce(jnp.maximum, parts) if parts else jnp.zeros(())


def total(leaves: list[jax.Array]) -> jax.Array:
    r"""The norm :math:`\lVert x \rVert_1`."""
    parts = [jnp.sum(x) for x in _components(leaves)]
    return functools.reduce(jnp.add, parts) if parts else jnp.zeros(())


def remember(state: LBFGSState, grad: list[jax.Array]) -> LBFGSState:
    """The state with the newest pair written over the oldest, if its curvature is positive."""
    y = [g - old for g, old in zip(grad, state.prev_flat_grad, strict=True)]
    s = along(None, state.t, state.d)
    ys = vdot(y, s)
    curved = (state.n_iter > 0) & (ys > 1e-10)
    row = state.num_old % state.ro.size

    return state._replace(
        old_dirs=store(state.old_dirs, row, y, curved),
        old_stps=store(state.old_stps, row, s, curved),
        num_old=state.num_old + curved.astype(jnp.int32),
        ro=state.ro.at[row].set(jnp.where(curved, 1 / ys, state.ro[row])),
        H_diag=jnp.where(curved, ys / vdot(y, y), state.H_diag),
    )


def direction(state: LBFGSState, grad: list[jax.Array]) -> list[jax.Array]:
    """The two loops over the stored pairs."""
    stored = jnp.minimum(state.num_old, state.ro.size)
    return inverse_hessian_product(
        [-g for g in grad],
        state.old_stps,
        state.old_dirs,
        state.ro,
        state.num_old,
        stored,
        state.H_diag,
    )
