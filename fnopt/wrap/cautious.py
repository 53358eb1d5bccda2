"""Cautious optimizers: no step against the gradient."""

from __future__ import annotations

import dataclasses
from typing import Annotated, Any, NamedTuple

import jax
import jax.numpy as jnp

from fnopt.core import Inner, Wrapper, computing_dtype, divide
from fnopt.core.checks import Interval, float_leaves, leaves_like
from fnopt.core.fields import Field
from fnopt.core.moments import cast
from fnopt.core.types import OptState, Params, PyTree, Updates


class CautiousState(NamedTuple):
    """The state of :class:`cautious`."""

    inner_state: Any


class cautious(Wrapper):
    r"""Leaves out what an optimizer does against the present gradient.

    .. math:: \phi_t = [\,u_t\,g_t < 0\,], \qquad
        u'_t = u_t\,\phi_t\,/\max(\overline{\phi_t}, \epsilon)

    elementwise, the mean :math:`\overline{\phi_t}` being over a leaf. Of complex numbers the real
    part of :math:`u\,\bar g` counts. The maximum with :math:`\epsilon` is the authors' code's;
    the paper's Algorithm 1 adds :math:`\epsilon`, its text counts one element more.

    The inner transform must be a whole optimizer, whose updates go down. A decoupled decay in it
    (:class:`adamw`) is masked and rescaled with the rest, and acts only where the whole step goes
    down. The authors decay every weight; that is a decay after it, with the rate in it::

        chain(
            cautious(adam(rate)),
            scale(-1.0), add_decayed_weights(rate * weight_decay), scale(-1.0),
        )

    Args:
        inner: the optimizer.
        eps: :math:`\epsilon \in (0, 1]`.

    When:
        Optimizers with momentum (Adam, Lion, signum). Elements without a gradient count as masked:
        sparse gradients lengthen the steps of the rest, up to :math:`1 / \epsilon` times.

    References:
        Liang, Chen, Liu & Liu, *Cautious optimizers: improving training with one line of code*,
        2024, arXiv:2411.16085, Algorithm 1.
    """

    inner: Inner
    eps: Annotated[Any, Field(Interval("(0, 1]"))] = 1e-3

    elementwise = False  # the share that goes down is that of a leaf

    State = CautiousState

    def plan(self, params: Params) -> PyTree:
        # Where the gradient is 0, no step goes down: not even one that the inner transform makes.
        plans = super().plan(params)
        return jax.tree.map(lambda plan: dataclasses.replace(plan, keeps_zero=True), plans)

    def init(self, params: Params) -> CautiousState:
        return CautiousState(self.inner.init(params))

    def update(
        self, updates: Updates, state: OptState, params: Params = None, **extra_args: Any
    ) -> tuple[Updates, CautiousState]:
        inner_state = self.check(state)
        _, grads, treedef = float_leaves("updates", updates)
        steps, inner_state = self.inner.update(updates, inner_state, params, **extra_args)
        steps = leaves_like(treedef, "the inner updates", steps, "updates")
        masked = [self._mask(u, g) for u, g in zip(steps, grads, strict=True)]
        return treedef.unflatten(masked), CautiousState(inner_state)

    def _mask(self, step: jax.Array, grad: jax.Array) -> jax.Array:
        wide = computing_dtype(step.dtype)
        real = jnp.finfo(wide).dtype
        down = cast(sign_of_product(step, grad) < 0, real)
        share = jnp.sum(down) / max(down.size, 1)
        factor = down / jnp.maximum(share, cast(jnp.asarray(self.eps), real))
        return cast(cast(step, wide) * cast(factor, wide), step.dtype)


def sign_of_product(step: jax.Array, grad: jax.Array) -> jax.Array:
    """A number with the sign of the real part of step times conjugate gradient, of any size."""

    def unit(x: jax.Array) -> jax.Array:
        if not jnp.iscomplexobj(x):
            return jnp.sign(x)
        largest = jnp.maximum(jnp.abs(x.real), jnp.abs(x.imag))
        return jax.lax.complex(divide(x.real, largest), divide(x.imag, largest))

    return (unit(step) * jnp.conj(unit(grad))).real
