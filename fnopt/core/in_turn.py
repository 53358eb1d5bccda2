"""Decompositions of one program, one after another."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp

from fnopt.core.types import PyTree


def after(done: PyTree, then: PyTree) -> PyTree:
    """Arrays as they are, which a program has only once it has others.

    jax 0.10 computes a batched decomposition on a CPU by tasks in the pool of threads on which the
    call itself may wait: as many such calls at once as there are threads wait for ever. Only what
    one reads of another keeps two apart; XLA removes barriers before it decides what runs when.

    Args:
        done: the arrays that come first; one number of each is read.
        then: the arrays that come later, returned with the same values.
    """
    numbers = [jnp.real(x.ravel()[0]) for x in jax.tree.leaves(done) if x.size]
    if not numbers:
        return then
    # No number is both, but XLA does not know it and reads the number.
    never = functools.reduce(jnp.logical_or, [(x != x) & (x == 0) for x in numbers])
    return jax.tree.map(lambda x: jnp.where(never, jnp.zeros_like(x), x), then)
