"""Loss scaling: gradients that half precision can hold."""

from __future__ import annotations

import dataclasses
from typing import Annotated, Any, NamedTuple

import jax
import jax.numpy as jnp

from fnopt.core.checks import Interval
from fnopt.core.fields import Field
from fnopt.core.value import Value


class ScalingState(NamedTuple):
    """The state of :class:`dynamic_scaling`.

    Attributes:
        scale: the factor of the loss, a scalar in float32.
        good: the number of finite steps since the scale last changed.
    """

    scale: jax.Array
    good: jax.Array


_Positive = Annotated[Any, Field(Interval("(0, inf)"))]


class dynamic_scaling(Value):
    r"""A factor for the loss that is as large as the gradients allow.

    .. math:: s \leftarrow \begin{cases}
        \max(\beta s, s_{\min}) & \text{a gradient was not finite}\\
        \min(\gamma s, s_{\max}) & n \text{ steps in a row were}\\
        s & \text{else}\end{cases}

    Args:
        init_scale: the factor :math:`s` at the start, above 0.
        growth_interval: :math:`n \ge 1`, finite steps in a row before the factor grows.
        growth: :math:`\gamma \ge 1`, its multiplier then.
        backoff: :math:`\beta \in (0, 1]`, its multiplier after a step that is not finite.
        min_scale: :math:`s_{\min} > 0`, the smallest factor.
        max_scale: :math:`s_{\max}`, the largest factor, at least ``min_scale``.

    Raises:
        ValueError: an argument is out of its range.

    References:
        Micikevicius et al., *Mixed precision training*, ICLR 2018, arXiv:1710.03740, Section 3.2.

    >>> scaling = dynamic_scaling(growth_interval=2)
    >>> state = scaling.init()
    >>> for finite in (False, True, True, True):
    ...     state = scaling.update(state, finite)
    ...     print(float(state.scale), end=" ")
    16384.0 16384.0 32768.0 32768.0
    """

    init_scale: _Positive = 2.0**15
    _: dataclasses.KW_ONLY
    growth_interval: Annotated[Any, Field(Interval("[1, inf)"))] = 2000.0
    growth: Annotated[Any, Field(Interval("[1, inf)"))] = 2.0
    backoff: Annotated[Any, Field(Interval("(0, 1]"))] = 0.5
    min_scale: _Positive = 1.0
    max_scale: _Positive = 2.0**24

    def __post_init__(self) -> None:
        super().__post_init__()
        numbers = self.min_scale, self.init_scale, self.max_scale
        if all(isinstance(x, float) for x in numbers) and list(numbers) != sorted(numbers):
            raise ValueError(
                "dynamic_scaling: init_scale must lie from min_scale to max_scale, got"
                f" {self.init_scale!r}, {self.min_scale!r} and {self.max_scale!r}"
            )

    def init(self) -> ScalingState:
        """The state before the first step."""
        return ScalingState(
            scale=jnp.asarray(self.init_scale, jnp.float32), good=jnp.zeros((), jnp.int32)
        )

    def update(self, state: ScalingState, finite: Any) -> ScalingState:
        """The state after a step.

        Args:
            state: the state before it.
            finite: a flag, whether loss and gradient of the step were finite.
        """
        good = jnp.where(finite, state.good + 1, 0)
        grow = good >= jnp.asarray(self.growth_interval).astype(good.dtype)
        growth, backoff, least, most = (
            jnp.asarray(x, jnp.float32)
            for x in (self.growth, self.backoff, self.min_scale, self.max_scale)
        )
        larger = jnp.minimum(state.scale * growth, most)
        grown = jnp.where(grow, larger, state.scale)
        scale = jnp.where(finite, grown, jnp.maximum(state.scale * backoff, least))
        return ScalingState(scale, jnp.where(grow, 0, good))
