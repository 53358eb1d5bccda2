"""Functions that say which batches :class:`fnopt.MultiSteps` leaves out."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from fnopt.core import vdot
from fnopt.core.types import Numeric, Params, PyTree, Updates


def skip_not_finite(
    updates: Updates, gradient_step: Numeric, params: Params
) -> tuple[jax.Array, PyTree]:
    """Whether to leave out a batch because an element of its gradients is not finite.

    Args:
        updates: the gradients of one batch.
        gradient_step: the number of steps so far.
        params: the parameters, or None.

    Returns:
        A flag, and a dict of it and of the number of infinite and NaN elements.

    >>> import fnopt, jax.numpy as jnp
    >>> skip, facts = fnopt.skip_not_finite({"w": jnp.array([1.0, jnp.nan])}, 0, None)
    >>> bool(skip), int(facts["num_not_finite"])
    (True, 1)
    >>> tx = fnopt.MultiSteps(fnopt.sgd(0.1), 4, should_skip_update_fn=fnopt.skip_not_finite)
    """
    counts = [jnp.sum(~jnp.isfinite(leaf), dtype=jnp.int32) for leaf in jax.tree.leaves(updates)]
    number = sum(counts, start=jnp.zeros((), jnp.int32))
    return number > 0, {"should_skip": number > 0, "num_not_finite": number}


def skip_large_updates(
    updates: Updates, gradient_step: Numeric, params: Params, max_squared_norm: Numeric
) -> tuple[jax.Array, PyTree]:
    """Whether to leave out a batch because the norm of its gradients is too large or NaN.

    Args:
        updates: the gradients of one batch.
        gradient_step: the number of steps so far.
        params: the parameters, or None.
        max_squared_norm: the smallest squared Euclidean norm of all gradients that is too large.
            Bind it once, with :class:`functools.partial`: another partial is another program.

    Returns:
        A flag, and a dict of it and of the squared norm.

    >>> import functools, fnopt
    >>> skip = functools.partial(fnopt.skip_large_updates, max_squared_norm=100.0)
    >>> tx = fnopt.MultiSteps(fnopt.sgd(0.1), 4, should_skip_update_fn=skip)
    """
    squared = vdot(updates, updates)
    skip = ~(squared < max_squared_norm)  # so that NaN is too large
    return skip, {"should_skip": skip, "norm_squared": squared}
