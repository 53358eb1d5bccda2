"""The diagonal of the Hessian, by Hutchinson's estimator."""

from __future__ import annotations

from typing import Any

import jax
import optax
from optax.contrib import HutchinsonState

from fnopt.core import Outcome, Seed, Transform, as_key, evaluation_of, required
from fnopt.core.checks import float_leaves, leaves_like, refuse_state, updates_and_params
from fnopt.core.moments import cast
from fnopt.core.types import Arrays, OptState, Params, Updates


class hutchinson_estimator_diag_hessian(Transform):
    r"""Replaces the gradient by an estimate of the Hessian's diagonal.

    .. math:: \hat h = z \odot \nabla^2 L(\theta)\,z, \qquad z_i = \pm 1 \text{ at random}

    It is unbiased, and exact where the Hessian is diagonal. It costs about two gradients.

    Args:
        random_seed: seed of the signs, an integer or a key; 0 if None.

    Raises:
        ValueError: ``update`` received no parameters, or no ``value_fn`` (or ``obj_fn``, by
            which name optax knows it).

    References:
        Bekas, Kokiopoulou & Saad, *An estimator for the diagonal of a matrix*, Applied Numerical
        Mathematics 57, 2007, eq. 1, with one vector; Hutchinson, *A stochastic estimator of the
        trace of the influence matrix for Laplacian smoothing splines*, 1989, for its signs.
    """

    random_seed: Seed = None

    @property
    def evaluates(self) -> bool | None:
        return True

    def init(self, params: Params) -> HutchinsonState:
        float_leaves("params", params)
        return HutchinsonState(as_key(0 if self.random_seed is None else self.random_seed))

    def update(
        self,
        updates: Updates,
        state: OptState,
        params: Params = None,
        **extra_args: Any,
    ) -> tuple[Any, Any]:
        if getattr(state, "_fields", None) != HutchinsonState._fields:
            refuse_state(self, state)
        updates, params = updates_and_params(self, updates, params)
        loss = required(self, "value_fn", evaluation_of(extra_args).value)
        grads, treedef = jax.tree.flatten(updates)
        like = jax.tree.leaves(params)
        key, subkey = jax.random.split(state.key)
        signs = random_signs(subkey, like)
        _, product = jax.jvp(
            jax.grad(loss), (treedef.unflatten(like),), (treedef.unflatten(signs),)
        )
        products = leaves_like(treedef, "the gradient of value_fn", product, "updates")
        diagonal = [
            cast(x * sign, grad.dtype) for x, sign, grad in zip(products, signs, grads, strict=True)
        ]
        return treedef.unflatten(diagonal), HutchinsonState(key)

    def outcome(self, state: OptState) -> Outcome | None:
        return Outcome(products=1)


def random_signs(key: jax.Array, like: Arrays) -> Arrays:
    """Arrays of independent random signs, 1 or -1, in the shapes and dtypes of others."""
    # Drawn in single precision for all, as in optax, for the same draws.
    signs: Any = optax.tree.random_like(key, like, jax.random.rademacher, dtype="float32")
    return [cast(sign, x.dtype) for sign, x in zip(signs, like, strict=True)]
