"""Names of jax's primitives by what they do, and the functions within them."""

from __future__ import annotations

from typing import Any

import jax

CALLS = {"jit", "pjit", "closed_call", "core_call"}
"""A function within a function that is nothing but its body."""
WRAPPERS = {"custom_jvp_call", "custom_vjp_call", "remat2", "checkpoint", "remat"}
"""Functions with custom derivatives or memory; written out only if a product is in them."""
BRANCHES = {"while", "cond"}
"""Their computation depends on values: layers in them are not seen."""
PRODUCTS = {"dot_general", "conv_general_dilated"}
LOOKUPS = {"gather"}
MOVES = {"transpose", "broadcast_in_dim", "reshape", "squeeze", "convert_element_type", "copy"}
"""They change the positions of elements, or their dtype, and nothing else."""
REDUCTIONS = {"reduce_sum", "reduce_max", "reduce_and", "reduce_or", "psum", "cumsum"}
"""A normalization has one of them; a nonlinearity by element has none."""
NONLINEAR = {"max", "min", "clamp", "abs", "sign", "tanh", "logistic", "erf", "erfc", "exp", "exp2"}
NONLINEAR |= {"expm1", "log", "log1p", "pow", "integer_pow", "square", "sqrt", "sin", "cos", "atan"}
"""Functions by element that are not linear."""


def inner_of(equation: Any) -> Any:
    """The function within a call, or None."""
    return equation.params.get("jaxpr", equation.params.get("call_jaxpr"))


def primitives(closed: Any) -> set[str]:
    """The names of all primitives in a function, those in its inner functions too."""
    names: set[str] = set()
    for equation in parts(closed)[0].eqns:
        inner = [x for x in jax.tree.leaves(list(equation.params.values())) if _is_jaxpr(x)]
        names |= set().union(*map(primitives, inner)) if inner else {equation.primitive.name}
    return names


def parts(closed: Any) -> tuple[Any, tuple[Any, ...]]:
    """A function's body and its constants; one that is not closed has none."""
    return getattr(closed, "jaxpr", closed), tuple(getattr(closed, "consts", ()))


def _is_jaxpr(x: Any) -> bool:
    return hasattr(x, "eqns") or hasattr(getattr(x, "jaxpr", None), "eqns")
