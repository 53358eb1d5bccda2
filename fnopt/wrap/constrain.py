"""Constraints on updates: no NaN, parameters that are not negative."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import optax

from fnopt.core import Context, Rule
from fnopt.core.types import LeafUpdate, Slots


class zero_nans(Rule):
    """Replaces every NaN by 0; infinities stay.

    Its state says of every leaf whether the last update had one (``found_nan``).

    When:
        A rare NaN is known to be harmless. A run that makes them often is ill, and this hides it.
    """

    State = optax.ZeroNansState
    packs = False  # pyright: ignore[reportAssignmentType] - a flag for each leaf
    elementwise = keeps_zero = True

    def init_leaf(self, param: jax.Array) -> dict[str, jax.Array]:
        return {"found_nan": jnp.zeros((), bool)}

    def update_leaf(self, grad: jax.Array, slots: Slots, param: Any, ctx: Context) -> LeafUpdate:
        nan = jnp.isnan(grad)
        return jnp.where(nan, jnp.zeros_like(grad), grad), {"found_nan": jnp.any(nan)}


class keep_params_nonnegative(Rule):
    r"""Shortens a step that would make a parameter negative to one that makes it 0.

    .. math:: u = \max(u', -\theta) \quad\text{or}\quad u = -\theta \text{ where }\theta < 0

    It stands last in a chain, where the updates are steps; with gradient descent before it that is
    the projected gradient method. A parameter that is negative goes to 0, unless its step alone
    takes it above.

    When:
        Parameters are rates, variances or weights of a mixture, whose minimum may be at 0; where
        it does not, optimize a logarithm or an inverse softplus instead.

    References:
        Goldstein, *Convex programming in Hilbert space*, Bulletin of the AMS 70(5), 1964.
    """

    needs_params = True
    elementwise = True

    def update_leaf(self, grad: jax.Array, slots: Slots, param: Any, ctx: Context) -> LeafUpdate:
        return jnp.where(param + grad < 0, -param, grad), {}
