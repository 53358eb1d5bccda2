"""Grokfast: the slow part of the gradient, amplified."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from fnopt.core import Context, Decay, Joint, NonNegative, Static, moment, zeros
from fnopt.core.types import Arrays, LeavesUpdate, Rows


class GrokfastEmaState(NamedTuple):
    """The state of :class:`grokfast_ema`.

    Attributes:
        is_initial_step: whether there was no update yet.
        ema: the average of the gradients.
    """

    is_initial_step: jax.Array
    ema: Any


class grokfast_ema(Joint):
    r"""Adds to the gradient its moving average.

    .. math:: \mu_t = \alpha\,\mu_{t-1} + (1 - \alpha)\,g_t, \qquad
        u_t = g_t + \lambda\,\mu_t, \qquad \mu_0 = g_1

    The start is that of the authors' code. It stands before an optimizer.

    Args:
        alpha: decay of the average, :math:`\alpha \in [0, 1)`.
        lamb: weight of the average, :math:`\lambda \ge 0`.

    When:
        Networks that generalize long after they have learnt their training data (grokking), with
        weight decay. Elsewhere it is little else than momentum.

    References:
        Lee, Kang, Kim & Lee, *Grokfast: accelerated grokking by amplifying slow gradients*, 2024,
        arXiv:2405.20233, Algorithm 2.
    """

    alpha: Decay = 0.98
    lamb: NonNegative = 2.0

    State = GrokfastEmaState
    shared = ("is_initial_step",)
    leafwise = elementwise = keeps_zero = True

    def init_shared(self, params: Arrays) -> dict[str, Any]:
        return {"is_initial_step": jnp.array(True)}

    def init_leaf(self, param: jax.Array) -> dict[str, jax.Array]:
        return {"ema": zeros(param)}

    def update_leaves(
        self, grads: Arrays, slots: Rows, params: Any, shared: Any, ctx: Context, **extra_args: Any
    ) -> LeavesUpdate:
        first = shared["is_initial_step"]
        averages = [
            jnp.where(first, g, moment(g, s.ema, self.alpha))
            for g, s in zip(grads, slots, strict=True)
        ]
        directions = [g + self.lamb * ema for g, ema in zip(grads, averages, strict=True)]
        return directions, [{"ema": x} for x in averages], {"is_initial_step": jnp.array(False)}


class GrokfastMaState(NamedTuple):
    """The state of :class:`grokfast_ma`.

    Attributes:
        place: the position of the oldest gradient in the windows.
        full: whether the windows are full.
        window: the last gradients, along a new first axis.
    """

    place: jax.Array
    full: jax.Array
    window: Any


class grokfast_ma(Joint):
    r"""Adds to the gradient the mean of the last ones.

    .. math:: u_t = g_t + \frac{\lambda}{w} \sum_{i=0}^{w-1} g_{t-i}

    It stands before an optimizer, and keeps :math:`w` gradients.

    Args:
        window_size: number of gradients in the mean, an integer :math:`w \ge 1`.
        lamb: weight of the average, :math:`\lambda \ge 0`.
        warmup: whether the first :math:`w - 1` gradients stay as they are; else the mean is of
            those so far.

    Raises:
        ValueError: the window is empty.

    When:
        As :class:`grokfast_ema`, which needs one copy of the parameters where this needs
        :math:`w`.

    References:
        Lee, Kang, Kim & Lee, *Grokfast: accelerated grokking by amplifying slow gradients*, 2024,
        arXiv:2405.20233, Algorithm 1.
    """

    window_size: Static[int] = 100
    lamb: NonNegative = 5.0
    warmup: Static[bool] = True

    State = GrokfastMaState
    shared = ("place", "full")
    leafwise = elementwise = keeps_zero = True

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.window_size < 1:
            raise ValueError(
                f"grokfast_ma: window_size must be at least 1, got {self.window_size!r}"
            )

    def init_shared(self, params: Arrays) -> dict[str, Any]:
        return {"place": jnp.zeros((), jnp.int32), "full": jnp.array(False)}

    def init_leaf(self, param: jax.Array) -> dict[str, jax.Array]:
        return {"window": jnp.stack([zeros(param)] * self.window_size)}

    def update_leaves(
        self, grads: Arrays, slots: Rows, params: Any, shared: Any, ctx: Context, **extra_args: Any
    ) -> LeavesUpdate:
        position = shared["place"]
        full = shared["full"] | (position == self.window_size - 1)
        size = jnp.where(full, self.window_size, position + 1)
        lamb = jnp.where(full | (not self.warmup), self.lamb, 0.0)
        windows = [
            jax.lax.dynamic_update_index_in_dim(s.window, g, position, axis=0)
            for g, s in zip(grads, slots, strict=True)
        ]
        directions = [
            g + lamb * jnp.sum(window, axis=0) / size.astype(jnp.finfo(g.dtype).dtype)
            for g, window in zip(grads, windows, strict=True)
        ]
        shared = {"place": (position + 1) % self.window_size, "full": full}
        return directions, [{"window": window} for window in windows], shared
