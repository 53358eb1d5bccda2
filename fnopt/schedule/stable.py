"""Schedules for a length that may yet change: they decay late, or without an end in view."""

from __future__ import annotations

from typing import Annotated, Any

import jax
import jax.numpy as jnp

from fnopt.core import Number, Schedule, root
from fnopt.core.fields import Field
from fnopt.core.types import Numeric
from fnopt.schedule.progress import Length, Positive, bend, between, progress


class wsd_schedule(Schedule):
    r"""Warm-up, stable, decay: a trapezoid, or one whose last side is bent.

    .. math::
        \eta_t = \begin{cases}
            \text{line from } \eta_0 \text{ to } \eta & t < W \\
            \eta & W \le t < W + S \\
            \eta_T + (\eta - \eta_T)\,f(s) & s = \min(t - W - S, D)\,/\,D
        \end{cases}

    where :math:`f(s)` is :math:`1 - s` (``"linear"``), :math:`\tfrac12(1 + \cos\pi s)`
    (``"cosine"``) or :math:`1 - \sqrt{s}` (``"1-sqrt"``).

    Args:
        init_value: value at the start, :math:`\eta_0`.
        peak_value: value of the stable part, :math:`\eta`.
        warmup_steps: length of the warm-up in updates, :math:`W \ge 0`.
        stable_steps: number of updates at the peak, :math:`S \ge 0`.
        decay_steps: length of the decay in updates, :math:`D \ge 0`.
        end_value: value at the end, :math:`\eta_T`.
        decay: shape of the decay: ``"linear"``, ``"cosine"`` or ``"1-sqrt"``.

    Raises:
        ValueError: ``decay`` is none of the three, or a length is negative.

    When:
        Runs that may be prolonged, or decayed more than once from checkpoints of the stable part;
        a fifth of the length is enough for the decay.

    References:
        Hu et al., *MiniCPM*, 2024, arXiv:2404.06395, section 4;
        Hägele et al., *Scaling laws and compute-optimal training beyond fixed training durations*,
        NeurIPS 2024, arXiv:2405.18392 (``"1-sqrt"``).

    >>> import fnopt
    >>> schedule = fnopt.wsd_schedule(0.0, 1.0, 2, 3, 2)
    >>> [float(schedule(count)) for count in range(9)]
    [0.0, 0.5, 1.0, 1.0, 1.0, 1.0, 0.5, 0.0, 0.0]
    """

    init_value: Number
    peak_value: Number
    warmup_steps: Length
    stable_steps: Length
    decay_steps: Length
    end_value: Number = 0.0
    decay: Annotated[Any, Field(static=True, choices=("linear", "cosine", "1-sqrt"))] = "linear"

    def at(self, count: jax.Array) -> Numeric:
        rise = between(self.init_value, self.peak_value, progress(count, self.warmup_steps))
        done = progress(count - self.warmup_steps - self.stable_steps, self.decay_steps)
        share = root(done) if self.decay == "1-sqrt" else bend(self.decay, done)
        return jnp.where(done > 0, between(self.peak_value, self.end_value, share), rise)


class inverse_sqrt_schedule(Schedule):
    r"""A straight line up, then one over a square root, and optionally a line down to 0.

    .. math:: \eta_t = \eta\,\sqrt{\frac{\tau}{\tau + t - W}}\;
        \Bigl(1 - \frac{\min(\max(t - C, 0), D)}{D}\Bigr) \quad\text{for}\quad t \ge W

    With :math:`\tau = W`, the default, this is :math:`\eta\sqrt{W / t}`. The paper's
    :math:`d^{-1/2} \min(n^{-1/2}, n\,w^{-3/2})` of the :math:`n`-th update, :math:`n = t + 1`, has
    ``peak_value`` :math:`(d w)^{-1/2}`, ``init_value`` the :math:`w`-th of it, ``warmup_steps``
    :math:`w - 1` and ``timescale`` :math:`w`.

    Args:
        init_value: value at count 0.
        peak_value: value at count ``warmup_steps``, :math:`\eta`.
        warmup_steps: length of the warm-up in updates, :math:`W \ge 0`.
        timescale: time :math:`\tau > 0` of the decay, in updates; ``warmup_steps`` if None.
        cooldown_begin: count at which the cooldown begins, :math:`C \ge 0`; no cooldown if None.
        cooldown_steps: length of the cooldown in updates, :math:`D > 0`.

    Raises:
        ValueError: there is neither a warm-up nor a timescale, or only half a cooldown.

    When:
        A length that is not known; the cooldown is added once it is.

    References:
        Vaswani et al., *Attention is all you need*, NeurIPS 2017, arXiv:1706.03762, eq. 3;
        Zhai, Kolesnikov, Houlsby & Beyer, *Scaling vision transformers*, CVPR 2022,
        arXiv:2106.04560 (timescale and cooldown).

    >>> import fnopt
    >>> schedule = fnopt.inverse_sqrt_schedule(0.0, 1.0, 4)
    >>> [float(schedule(count)) for count in (0, 2, 4, 16, 64)]
    [0.0, 0.5, 1.0, 0.5, 0.25]
    """

    init_value: Number
    peak_value: Number
    warmup_steps: Length
    timescale: Positive = None
    cooldown_begin: Length = None
    cooldown_steps: Positive = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if (
            self.timescale is None
            and isinstance(self.warmup_steps, float)
            and not self.warmup_steps
        ):
            raise ValueError(
                "inverse_sqrt_schedule: without a warm-up it needs a timescale, got None"
            )
        if (self.cooldown_begin is None) != (self.cooldown_steps is None):
            raise ValueError(
                "inverse_sqrt_schedule: a cooldown needs cooldown_begin and cooldown_steps, got"
                f" {self.cooldown_begin} and {self.cooldown_steps}"
            )

    def at(self, count: jax.Array) -> Numeric:
        scale = self.warmup_steps if self.timescale is None else self.timescale
        since = jnp.maximum(count - self.warmup_steps, 0.0)
        rise = between(self.init_value, self.peak_value, progress(count, self.warmup_steps))
        value = rise * jnp.sqrt(scale / (scale + since))
        if self.cooldown_steps is None:
            return value
        return value * (1 - progress(count - self.cooldown_begin, self.cooldown_steps))
