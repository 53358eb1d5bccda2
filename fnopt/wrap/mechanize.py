"""Mechanic: learning the scale of another optimizer's updates."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import optax
import optax.contrib

from fnopt.core import (
    Inner,
    NonNegative,
    Positive,
    Rate,
    Static,
    Wrapper,
    computing_dtype,
    divide,
    global_norm,
    real_number,
    root,
    vdot,
)
from fnopt.core.checks import float_leaves, leaves_like
from fnopt.core.moments import cast
from fnopt.core.transform import at_count
from fnopt.core.types import OptState, Params, Updates


class mechanize(Wrapper):
    r"""Mechanic: learns the scale :math:`s` of the updates :math:`u` of another optimizer.

    .. math::
        h_t &= \Bigl\langle \Delta_{t-1},\ g_t + \lambda\,S_{t-1}\,
            \frac{\lVert g_t \rVert}{\lVert \theta_{t-1} \rVert + \epsilon}\,\theta_{t-1}
            \Bigr\rangle, \qquad
        \Delta_{t-1} = \frac{\theta_0 - \theta_{t-1}}{S_{t-1} + \epsilon} \\
        m_t &= \max(\beta\,m_{t-1}, |h_t| + \epsilon), \qquad
        v_t = \beta^2\,v_{t-1} + h_t^2, \qquad
        r_t = \beta\,r_{t-1} + s_{t-1}\,\operatorname{clip}(h_t, \pm m_{t-1}) \\
        s_t &= \frac{s_0\,m_t/n + \max(r_t, 0)}{\sqrt{v_t} + \epsilon}, \qquad
        S_t = \sum s_t, \qquad
        \theta_t = \theta_0 - S_t\,(\Delta_{t-1} - u_t)

    with :math:`n` entries of :math:`\beta`, 0.9, 0.99 and so on, an :math:`m, v, r, s` for each.
    The clipping is its authors' later addition, in optax too, and so is that :math:`r` may fall
    below 0: the paper, and its authors' program for torch, keep :math:`\max(r_t, 0)`. The
    :math:`\epsilon` added to :math:`|h_t|` is optax's as well. That program also starts with
    :math:`m_0 = 10^{-6}` and :math:`s = 0`, where here :math:`m_0 = 0` and every :math:`s` is
    :math:`s_0`, and decays by the parameters that the inner step leads to, where here they are
    those before it. The sum :math:`\Delta` of updates is
    recomputed from the parameters, and so is coarse while the scale is small.

    Args:
        base_optimizer: the optimizer, at any rate; a schedule of it has 1 as its peak.
        weight_decay: :math:`\lambda \ge 0`; it acts on :math:`h` alone.
        eps: :math:`\epsilon \ge 0`.
        s_init: :math:`s_0 > 0`.
        num_betas: :math:`n \ge 1`.

    Raises:
        TypeError: an argument is no transform.
        ValueError: an argument is out of its range.

    When:
        An optimizer and the shape of its schedule are settled and the rate is not; not around
        optimizers that normalize whole layers (LARS, LAMB).

    References:
        Cutkosky, Defazio & Mehta, *Mechanic: a learning rate tuner*, NeurIPS 2023,
        arXiv:2306.00144, Algorithm 1.
    """

    base_optimizer: Inner
    weight_decay: Rate = 1e-2
    eps: NonNegative = 1e-8
    s_init: Positive = 1e-6
    num_betas: Static[int] = 6

    leafwise = False  # the scale is learned from all gradients

    State = optax.contrib.MechanicState
    inner_state = "base_optimizer_state"

    def __post_init__(self) -> None:
        super().__post_init__()
        if not isinstance(self.num_betas, int) or self.num_betas < 1:
            raise ValueError(
                f"mechanize: num_betas must be an integer, 1 or above, got {self.num_betas!r}"
            )

    def init(self, params: Params) -> OptState:
        count = jnp.zeros((), jnp.int32)
        _, leaves, _ = float_leaves("params", params)
        one = real_number(at_count(self, count).s_init, leaves)
        s = jnp.broadcast_to(one, (self.num_betas,))
        return self.State(
            base_optimizer_state=self.base_optimizer.init(params),
            count=count,
            r=jnp.zeros_like(s),
            m=jnp.zeros_like(s),
            v=jnp.zeros_like(s),
            s=s,
            x0=jax.tree.map(jnp.array, params),
        )

    def count(self, state: OptState) -> jax.Array:
        return state.count

    def update(
        self, updates: Updates, state: OptState, params: Params = None, **extra_args: Any
    ) -> tuple[Updates, OptState]:
        inner_state = self.check(state)
        if params is None:
            raise ValueError("mechanize needs the parameters: call update(updates, state, params)")
        _, grads, treedef = float_leaves("updates", updates)
        points = leaves_like(treedef, "params", params, "updates")
        steps, inner_state = self.base_optimizer.update(updates, inner_state, params, **extra_args)
        # The weights may have been replaced between init and the first update.
        x0 = optax.tree.where(state.count == 0, params, state.x0)
        starts, steps = (treedef.flatten_up_to(tree) for tree in (x0, steps))
        with jax.numpy_dtype_promotion("standard"):
            real, moves = self._learn(grads, points, starts, steps, state)
        moves = [cast(move, grad.dtype) for move, grad in zip(moves, grads, strict=True)]
        return treedef.unflatten(moves), state._replace(
            base_optimizer_state=inner_state,
            count=optax.safe_increment(state.count),
            x0=x0,
            **{name: cast(new, getattr(state, name).dtype) for name, new in real.items()},
        )

    def _learn(
        self,
        grads: list[Any],
        points: list[Any],
        starts: list[Any],
        steps: list[Any],
        state: OptState,
    ) -> tuple[dict[str, Any], list[Any]]:
        """The next numbers, and the changes of the parameters."""
        rule = at_count(self, state.count, state.s.dtype)
        wide = [computing_dtype(grad.dtype, state.s.dtype) for grad in grads]
        grads, points, starts, steps = (
            [cast(jnp.asarray(x), dtype) for x, dtype in zip(leaves, wide, strict=True)]
            for leaves in (grads, points, starts, steps)
        )
        scale = jnp.sum(state.s)
        moved = [divide(x0 - x, scale + rule.eps) for x, x0 in zip(points, starts, strict=True)]
        # Neither may be so large that 0 times it, or its square, is no number.
        largest = jnp.finfo(state.s.dtype).max
        size = jnp.minimum(global_norm(grads), largest)
        share = divide(rule.weight_decay * scale * size, global_norm(points) + rule.eps)
        h = vdot([g + share * x for g, x in zip(grads, points, strict=True)], moved)
        h = jnp.clip(h, -(largest**0.5), largest**0.5)
        betas = jnp.array([1 - 0.1**i for i in range(1, self.num_betas + 1)], state.s.dtype)
        m = jnp.maximum(betas * state.m, jnp.abs(h) + rule.eps)
        v = betas**2 * state.v + h**2
        r = betas * state.r + jnp.clip(h, -state.m, state.m) * state.s
        wealth = rule.s_init / self.num_betas * m + jnp.maximum(r, 0.0)
        s = divide(wealth, root(v) + rule.eps)
        moves = [
            x0 - jnp.sum(s) * (delta - u) - x
            for x0, delta, u, x in zip(starts, moved, steps, points, strict=True)
        ]
        return {"r": r, "m": m, "v": v, "s": s}, moves
