"""Kahan summation of updates, for parameters of low precision."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from fnopt.core import Inner, Wrapper, computing_dtype, zeros
from fnopt.core.checks import float_leaves, leaves_like, same_shape
from fnopt.core.moments import cast
from fnopt.core.transform import foreign
from fnopt.core.types import OptState, Params, Updates


class KahanState(NamedTuple):
    """The state of :class:`kahan`.

    Attributes:
        compensation: what rounding took from the parameters, in their dtype.
        inner_state: the inner transform's.
    """

    compensation: Any
    inner_state: Any


class kahan(Wrapper):
    r"""Remembers what rounding takes from the parameters, and adds it to the next update.

    With :math:`\circ` for rounding to the dtype of the parameters,

    .. math:: y_t = u_t + c_{t-1}, \qquad \theta_t = \circ(\theta_{t-1} + y_t), \qquad
        c_t = \circ(\theta_{t-1} + y_t - \theta_t)

    so :math:`\theta + c` has twice the digits of :math:`\theta`: 16 bits for bfloat16, where steps
    below a 256th of a weight would else be lost. The update that it returns is such that
    ``optax.apply_updates`` makes :math:`\theta_t` of it, so it must be the last transform and be
    applied as it is. The gradients that the inner transform gets are widened to float32, unless
    it is optax's.

    Args:
        inner: the optimizer.

    When:
        Parameters in bfloat16 or float16 without a copy of them in float32. It costs memory like
        one more half-precision copy; for float32 parameters it is hardly worth it.

    References:
        Kahan, *Further remarks on reducing truncation errors*, Comm. ACM 8, 1965,
        doi:10.1145/363707.363723; Zamirai, Zhang, Aberger & De Sa, *Revisiting bfloat16 training*,
        2020, arXiv:2010.06192, Algorithm 2; Knuth, *The art of computer programming* 2, 4.2.2,
        theorem B, for the error of a sum.

    >>> import fnopt, jax.numpy as jnp, optax
    >>> def walk(tx):  # 1000 steps of 0.001 from 1
    ...     x = jnp.ones((), jnp.bfloat16)
    ...     state = tx.init(x)
    ...     for _ in range(1000):
    ...         updates, state = tx.update(-jnp.ones_like(x), state, x)
    ...         x = optax.apply_updates(x, updates)
    ...     return float(x)
    >>> walk(fnopt.sgd(1e-3)), walk(fnopt.kahan(fnopt.sgd(1e-3)))
    (1.0, 2.0)
    """

    inner: Inner

    State = KahanState

    def init(self, params: Params) -> KahanState:
        compensation = jax.tree.map(lambda p: zeros(jnp.asarray(p)), params)
        return KahanState(compensation, self.inner.init(params))

    def update(
        self, updates: Updates, state: OptState, params: Params = None, **extra_args: Any
    ) -> tuple[Updates, KahanState]:
        inner_state = self.check(state)
        if params is None:
            raise ValueError("kahan needs the parameters: call update(updates, state, params)")
        paths, grads, treedef = float_leaves("updates", updates)
        olds = [jnp.asarray(p) for p in leaves_like(treedef, "params", params, "updates")]
        lost = leaves_like(treedef, "state.compensation", state.compensation, "updates")
        for path, grad, old in zip(paths, grads, olds, strict=True):
            same_shape(path, grad.shape, old.shape, "parameter")
        if not isinstance(self.inner, foreign):
            wide = [cast(g, computing_dtype(g.dtype)) for g in grads]
            updates = treedef.unflatten(wide)
        steps, inner_state = self.inner.update(updates, inner_state, params, **extra_args)
        steps = leaves_like(treedef, "the inner updates", steps, "updates")
        sums = [
            _add(old, step, c, grad.dtype)
            for old, step, c, grad in zip(olds, steps, lost, grads, strict=True)
        ]
        compensation = treedef.unflatten([c for _, c in sums])
        return treedef.unflatten([u for u, _ in sums]), KahanState(compensation, inner_state)


def _add(old: jax.Array, step: jax.Array, lost: jax.Array, dtype: Any) -> tuple[Any, Any]:
    """The update, in a dtype, of one parameter, and what its addition loses."""
    wide = computing_dtype(old.dtype, step.dtype)
    p, y = cast(old, wide), cast(step, wide) + cast(lost, wide)
    # Where y is much larger than p the difference is rounded, and applying it would not give the
    # goal: what is lost is counted from the parameter that will be, not from the goal.
    update = _rounded(_rounded(p + y, old.dtype) - p, dtype)
    new = _rounded(p + update, old.dtype)
    moved = new - p
    error = (p - (new - moved)) + (y - moved)
    return cast(update, dtype), cast(error, old.dtype)


def _rounded(x: jax.Array, dtype: Any) -> jax.Array:
    """A number rounded to a narrower dtype, but in its own; XLA may drop a round trip of casts."""
    if jnp.iscomplexobj(x) or dtype == x.dtype:
        return x
    info = jnp.finfo(dtype)
    normal = jax.lax.reduce_precision(x, info.nexp, info.nmant)
    if info.nexp == jnp.finfo(x.dtype).nexp:
        return normal
    # That makes 0 of what the narrow dtype has as a subnormal number.
    step = float(info.smallest_subnormal)
    return jnp.where(jnp.abs(x) < float(info.tiny), jnp.round(x / step) * step, normal)
