"""The formula of a rule applied to one leaf: in the precision of the computation, and checked."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from fnopt.core.checks import brief
from fnopt.core.context import Context
from fnopt.core.moments import cast, computing_dtype
from fnopt.core.slots import as_dict, round_direction, round_slots, widen_slots
from fnopt.core.types import Slots


def apply_formula(
    in_precision: Callable[[Any], tuple[Any, Context]],
    path: str,
    grad: jax.Array,
    slots: Slots,
    param: Any,
) -> tuple[jax.Array, Slots]:
    """A rule's direction and slots for one leaf, computed wide and returned in their own dtypes.

    Args:
        in_precision: gives the rule, its numbers in a real dtype, and the context of this update.
        path: the leaf's path, for errors.
        grad: the gradient.
        slots: a named tuple of the leaf's slots.
        param: the parameter, or None.
    """
    dtype = grad.dtype if param is None else jnp.result_type(param)
    wide = computing_dtype(grad.dtype, dtype)
    real = jnp.finfo(wide).dtype
    # Moments of complex leaves are real or complex: these may mix, nothing else may.
    mixing = jnp.issubdtype(wide, jnp.complexfloating)
    with jax.numpy_dtype_promotion("standard") if mixing else contextlib.nullcontext():
        rule, ctx = in_precision(real)
        try:
            result = rule.update_leaf(
                cast(grad, wide),
                widen_slots(slots, wide, real),
                None if param is None else cast(jnp.asarray(param), wide),
                Context(ctx.t, ctx.precomputed, path, dtype),
            )
        except (TypeError, AttributeError) as error:
            mistake = _mistake(rule, error, param, ctx)
            if mistake is None:
                raise
            raise mistake from error
    if not isinstance(result, tuple) or len(result) != 2:
        raise TypeError(
            f"{type(rule).__name__}: update_leaf must return a pair, the direction and a dict of"
            f" the next slots, as return direction, {as_dict(slots._fields)}; got {brief(result)}"
            f" for {path}"
        )
    direction = round_direction(rule, path, grad, result[0])
    return direction, round_slots(rule, path, result[1], slots)


def _mistake(rule: Any, error: Exception, param: Any, ctx: Context) -> Exception | None:
    """The error to raise where a formula needs what it did not receive; None elsewhere."""
    if "NoneType" not in str(error):
        return None
    made = "State" not in vars(type(rule))
    causes = []
    if ctx.t is None:
        cure = "set counts = True in the class" if made else "give State a field count"
        causes.append(f"ctx.t is None without a count: {cure}")
    if param is None:
        causes.append(
            "param is None without parameters in update: set needs_params = True in the class"
        )
    return TypeError(
        f"{type(rule).__name__}: update_leaf fails ({error}). {'; '.join(causes)}, if the formula"
        " needs it"
    ) if causes else None  # fmt: skip
