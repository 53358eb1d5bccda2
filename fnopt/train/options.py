"""The options of a training step: part of the program, not numbers in it."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import jax
import jax.numpy as jnp

from fnopt.core import computing_dtype, did_you_mean
from fnopt.core.checks import positive_integer
from fnopt.train.precision import Precision

_ACCUMULATORS = ("float32", "float64", "bfloat16", "float16")


@dataclasses.dataclass(frozen=True)
class StepOptions:
    """The options of a step; other options are another compiled program.

    Args:
        accumulate: number of micro-batches, at least 1, in which a batch is computed one after the
            other for one update; the number of examples is a multiple of it. Activations need the
            memory of one. Schedules and ``step`` count updates. Batch statistics are those of
            micro-batches, and move that many times per step.
        accumulator_dtype: dtype of the sum of their gradients, ``"float32"``, ``"float64"``,
            ``"bfloat16"`` or ``"float16"``; the gradient's, float32 at least, if None.
        precision: the :class:`Precision` that the state was initialized with, or its name; None
            leaves dtypes as they are.
        clip_norm: global norm, above 0, to which the gradient is clipped before the optimizer gets
            it; frozen parameters, whose gradient is not computed, do not count. None does not clip.
        skip_nonfinite: whether a step whose loss, gradient or update is not finite is skipped.

    Raises:
        ValueError: an option is out of its range, or two contradict each other.
    """

    accumulate: int = 1
    accumulator_dtype: Any = None
    precision: Any = None
    clip_norm: float | None = None
    skip_nonfinite: bool = True

    def __post_init__(self) -> None:
        object.__setattr__(self, "accumulate", positive_integer("accumulate", self.accumulate))
        if self.accumulator_dtype is not None:
            object.__setattr__(self, "accumulator_dtype", _accumulator(self.accumulator_dtype))
        object.__setattr__(self, "precision", Precision.named(self.precision))
        if self.clip_norm is not None:
            limit = float(self.clip_norm)
            if not (limit > 0 and math.isfinite(limit)):
                raise ValueError(f"clip_norm must lie in (0, inf), got {self.clip_norm!r}")
            object.__setattr__(self, "clip_norm", limit)
        if not self.skip_nonfinite and self.precision is not None and self.precision.loss_scale:
            raise ValueError(
                "skip_nonfinite=False contradicts loss scaling, which leaves a step out whenever"
                " the scale was too large; give precision without loss_scale"
            )

    @classmethod
    def of(cls, caller: str, options: dict[str, Any]) -> StepOptions:
        """The options by name.

        Raises:
            TypeError: there is no option of a name.
        """
        known = [field.name for field in dataclasses.fields(cls)]
        for name in options:
            if name not in known:
                raise TypeError(f"{caller}: no option {name!r}; {did_you_mean(name, known)}")
        return cls(**options)

    def accumulator(self, dtype: Any) -> Any:
        """The dtype in which gradients of a dtype are summed."""
        if self.accumulator_dtype is None:
            return computing_dtype(dtype)
        if jnp.issubdtype(dtype, jnp.complexfloating):
            return jnp.promote_types(dtype, self.accumulator_dtype)
        return jnp.dtype(self.accumulator_dtype)


def _accumulator(dtype: Any) -> str:
    name = dtype if isinstance(dtype, str) else str(jnp.dtype(dtype))
    if name not in _ACCUMULATORS:
        raise ValueError(f"no accumulator_dtype={name!r}; {did_you_mean(name, _ACCUMULATORS)}")
    if name == "float64" and not jax.config.jax_enable_x64:  # pyright: ignore
        raise ValueError(
            'accumulator_dtype="float64" needs jax.config.update("jax_enable_x64", True)'
        )
    return name
