"""Lookahead."""

from __future__ import annotations

from typing import Annotated, Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from fnopt.core import Inner, Static, Wrapper, computing_dtype
from fnopt.core.checks import Interval, float_leaves, leaves_like, same_shape
from fnopt.core.fields import Field
from fnopt.core.moments import cast
from fnopt.core.plan import LeafPlan
from fnopt.core.types import OptState, Params, PyTree, Updates

LookaheadParams = optax.LookaheadParams


class LookaheadState(NamedTuple):
    """The state of :class:`lookahead`; the first two fields are optax's.

    Attributes:
        fast_state: the fast optimizer's.
        steps_since_sync: its steps since fast and slow parameters were one.
        slow: the slow parameters; None where the parameters are pairs.
    """

    fast_state: Any
    steps_since_sync: jax.Array
    slow: Any


class lookahead(Wrapper):
    r"""Follows an optimizer from afar: k steps forward, one step back.

    .. math:: \theta_t = \theta_{t-1} + u_t, \quad\text{and after every } k\text{-th step}\quad
        \phi \leftarrow \phi + \alpha\,(\theta_t - \phi), \quad \theta_t \leftarrow \phi

    The slow parameters :math:`\phi` are in the state, ``optax.tree.get(state, "slow")``, and are
    those to use in the end. Parameters that are optax's pairs, ``LookaheadParams(fast, slow)``,
    are taken as by optax: gradients are those of ``fast``, updates are pairs, the state has no
    slow parameters. The updates must be applied as they are.

    Args:
        fast_optimizer: the optimizer.
        sync_period: :math:`k \ge 1`.
        slow_step_size: :math:`\alpha \in [0, 1]`.
        reset_state: initialize the fast optimizer's state again, at :math:`\phi`, every time.

    Raises:
        ValueError: a number is out of its range; in ``update``, pairs meet a state initialized
            without, or the other way round.

    When:
        To steady an optimizer that is fast but noisy; its rate can then be less well chosen.

    References:
        Zhang, Lucas, Hinton & Ba, *Lookahead optimizer: k steps forward, 1 step back*, NeurIPS
        2019, arXiv:1907.08610, Algorithm 1.
    """

    fast_optimizer: Inner
    sync_period: Static[int]
    slow_step_size: Annotated[Any, Field(Interval("[0, 1]"))]
    reset_state: Static[bool] = False

    State = LookaheadState
    inner_state = "fast_state"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.sync_period < 1:
            raise ValueError(f"lookahead: sync_period must be at least 1, got {self.sync_period!r}")

    def plan(self, params: Params) -> PyTree:
        if not isinstance(params, LookaheadParams):
            return super().plan(params)
        # The two of a pair depend on each other; the optimizer knows the first alone.
        return jax.tree_util.tree_map_with_path(
            lambda path, param: LeafPlan(label=jax.tree_util.keystr(path)), params
        )

    def init(self, params: Params) -> LookaheadState:
        pairs = isinstance(params, LookaheadParams)
        return LookaheadState(
            fast_state=self.fast_optimizer.init(params.fast if pairs else params),
            steps_since_sync=jnp.zeros((), jnp.int32),
            slow=None if pairs else jax.tree.map(jnp.array, params),
        )

    def update(
        self, updates: Updates, state: OptState, params: Params = None, **extra_args: Any
    ) -> tuple[Updates, LookaheadState]:
        fast_state = self.check(state)
        if params is None:
            raise ValueError("lookahead needs the parameters: call update(updates, state, params)")
        pairs = isinstance(params, LookaheadParams)
        paths, grads, treedef = float_leaves("updates", updates)
        if pairs != (state.slow is None):
            raise ValueError(
                "lookahead: init received LookaheadParams and update did not, or the other way"
                " round; pass the same to both"
            )
        fast, slow = params if pairs else (params, state.slow)
        fasts = [jnp.asarray(f) for f in leaves_like(treedef, "params", fast, "updates")]
        slows = leaves_like(treedef, "the slow parameters", slow, "updates")
        for path, grad, old in zip(paths, grads, fasts, strict=True):
            same_shape(path, grad.shape, old.shape, "parameter")
        steps, fast_state = self.fast_optimizer.update(updates, fast_state, fast, **extra_args)
        steps = leaves_like(treedef, "the fast updates", steps, "updates")

        now = state.steps_since_sync == self.sync_period - 1
        for i, (old, step, slow) in enumerate(zip(fasts, steps, slows, strict=True)):
            grads[i], slows[i] = self._move(now, old, step, jnp.asarray(slow), pairs)
        if self.reset_state:
            synced = [_sum(old, step) for old, step in zip(fasts, grads, strict=True)]
            first = self.fast_optimizer.init(treedef.unflatten(synced))
            fast_state = jax.tree.map(lambda a, b: jnp.where(now, a, b), first, fast_state)
        ahead, behind = treedef.unflatten(grads), treedef.unflatten(slows)
        return LookaheadParams(ahead, behind) if pairs else ahead, LookaheadState(
            fast_state=fast_state,
            steps_since_sync=jnp.where(now, 0, state.steps_since_sync + 1),
            slow=None if pairs else behind,
        )

    def eval_params(self, state: OptState, params: Params) -> Params:
        """The slow parameters; pairs as they are, since a model of pairs chooses itself."""
        return params if state.slow is None else state.slow

    def _move(
        self, now: jax.Array, fast: jax.Array, step: jax.Array, slow: jax.Array, pairs: bool
    ) -> tuple[jax.Array, jax.Array]:
        """The fast update, and the slow one or, without pairs, the slow parameter."""
        wide = computing_dtype(fast.dtype, step.dtype)
        f, u, s = (cast(x, wide) for x in (fast, step, slow))
        share = cast(jnp.asarray(self.slow_step_size), jnp.finfo(wide).dtype).astype(wide)
        ahead = f + u - s
        back = jnp.where(now, share * ahead, jnp.zeros_like(ahead))
        moved = jnp.where(now, u - (1 - share) * ahead, u)
        return cast(moved, step.dtype), cast(back if pairs else s + back, slow.dtype)


def _sum(param: jax.Array, step: jax.Array) -> jax.Array:
    wide = computing_dtype(param.dtype, step.dtype)
    return cast(cast(param, wide) + cast(step, wide), param.dtype)
