"""What is no tree of parameters: models, variables of Flax that are not trained, tensors of torch.

The libraries are not imported: their classes are known by name.
"""

from __future__ import annotations

import operator
from collections.abc import Collection, Generator, Mapping
from typing import Any

import jax
import jax.numpy as jnp

from fnopt.core.plan import UNTOUCHED
from fnopt.core.types import Params

_NNX_PARAMS = "pass nnx.state(model, nnx.Param)"
_EQUINOX_PARAMS = "pass eqx.filter(model, eqx.is_inexact_array)"
_TENSORS = (
    "convert it to arrays first: fnopt.pretrained.load_pretrained puts weights of torch into"
    " parameters of JAX"
)
_UNTRAINED = ("BatchStat", "Cache", "Intermediate", "RngState")
"""Variables of NNX that no optimizer trains."""
_COLLECTIONS = {"params", "batch_stats", "cache", "intermediates"}
"""Collections of Linen's variables."""


def check_params(tx: Any, params: Params) -> None:
    """Refuses what is certainly no tree of parameters, though it may be a tree of arrays.

    Args:
        tx: the transform; what it freezes or may leave out can be of any kind.
        params: the argument of ``init``.

    Raises:
        TypeError: it is a model, or has leaves that are no parameters.
    """
    kind = type(tx).__name__
    # A part may have no state of parameters, and None is a tree without leaves.
    if params is None and tx.family not in ("parts", "wrappers"):
        raise TypeError(f"{kind}: init got None instead of a tree of parameters: tx.init(params)")
    if is_a(params, "flax.linen", "Module"):
        raise TypeError(
            f"{kind}: init got a Linen module ({type(params).__name__}), which holds no parameters;"
            " pass model.init(key, inputs)['params']"
        )
    if is_a(params, "torch", "Module"):
        raise TypeError(f"{kind}: init got a model of torch ({type(params).__name__}); {_TENSORS}")
    if hasattr(params, "params") and hasattr(params, "opt_state"):
        raise TypeError(f"{kind}: init got a train state; pass its params")
    if is_a(params, "fnopt.train", "Objective"):
        raise TypeError(
            f"{kind}: init got an objective, not its parameters; give both to"
            " fnopt.train.TrainState.create(objective, tx, key), or call fnopt.train.fit"
        )
    if isinstance(params, Generator):
        raise TypeError(f"{kind}: init got a generator; if it gives tensors of torch, {_TENSORS}")
    of_others = [leaf for leaf in jax.tree.leaves(params) if not hasattr(leaf, "aval")]
    if of_others and any(type(leaf).__module__.split(".")[0] == "torch" for leaf in of_others):
        raise TypeError(f"{kind}: {refused_leaves(params)}")
    untrained = _untrained(params)
    if untrained and (trained := _trained(tx, params, untrained)):
        path, what = untrained[min(trained)]
        if is_a(params, "flax.nnx", "Module"):
            model = f"init got an NNX model ({type(params).__name__}), where model{path}"
        else:
            model = f"params{path}"
        raise TypeError(f"{kind}: {model} is no parameter but {what}")


def refused_leaves(params: Params) -> str | None:
    """The cure where ``init`` has failed on a tree with leaves of another library."""
    if is_a(params, "equinox", "Module"):
        return (
            f"init got an Equinox module ({type(params).__name__}) with leaves that are no"
            f" floating-point arrays; {_EQUINOX_PARAMS}"
        )
    if is_a(params, "flax.nnx", "Module"):
        return (
            f"init got an NNX model ({type(params).__name__}) with leaves that are no"
            f" floating-point arrays; {_NNX_PARAMS}"
        )
    for path, leaf in jax.tree_util.tree_leaves_with_path(params):
        if is_a(leaf, "torch", "Tensor"):
            return f"params{jax.tree_util.keystr(path)} is a tensor of torch; {_TENSORS}"
    return None


def refused_module(params: Params) -> str | None:
    """The cure where ``update`` has failed on a whole Equinox module."""
    leaves = jax.tree.leaves(params) if is_a(params, "equinox", "Module") else ()
    if all(jnp.issubdtype(getattr(leaf, "dtype", object), jnp.inexact) for leaf in leaves):
        return None
    return (
        f"params is an Equinox module ({type(params).__name__}) with leaves that have no gradient;"
        f" {_EQUINOX_PARAMS}"
    )


def is_a(x: Any, package: str, name: str) -> bool:
    """Whether something is an instance of a class of a library, which need not be imported."""
    return any(
        base.__name__ == name and f"{base.__module__}.".startswith(f"{package}.")
        for base in type(x).__mro__
    )


def _untrained(params: Params) -> dict[int, tuple[str, str]]:
    """The leaves that are no parameters, by position: their paths, and what they are."""
    found: dict[int, tuple[str, str]] = {}
    linen = isinstance(params, Mapping) and "params" in params and set(params) <= _COLLECTIONS
    model = is_a(params, "flax.nnx", "Module")

    def is_variable(x: Any) -> bool:
        return is_a(x, "flax.nnx", "Variable")

    i = 0
    for path, leaf in jax.tree_util.tree_leaves_with_path(params, is_leaf=is_variable):
        what, kind = "", type(leaf).__name__
        if model and not is_variable(leaf):
            what = f"of the type {kind}; {_NNX_PARAMS}"
        elif model and not is_a(leaf, "flax.nnx", "Param"):
            what = f"a variable of the kind {kind}; {_NNX_PARAMS}"
        elif any(is_a(leaf, "flax.nnx", name) for name in _UNTRAINED):
            what = f"a variable of the kind {kind}; {_NNX_PARAMS}"
        elif linen and path[0].key != "params":
            what = f"of the collection {path[0].key!r}; pass variables['params'] alone"
        for _ in jax.tree.leaves(leaf):
            if what:
                found[i] = jax.tree_util.keystr(path), what
            i += 1
    return found


def _trained(tx: Any, params: Params, untrained: Collection[int]) -> list[int]:
    """Which leaves, of those that are no parameters, are certainly treated as parameters are."""
    try:
        exempt = _passed(tx, params)
        exempt = list(map(operator.or_, exempt, _left_out(tx, params, untrained)))
    except Exception:  # init says what is wrong, if it is
        return []
    return [i for i in untrained if not exempt[i]]


def _passed(tx: Any, params: Params) -> list[bool]:
    return [plan.frozen or plan == UNTOUCHED for plan in jax.tree.leaves(tx.plan(params))]


def _left_out(tx: Any, params: Params, untrained: Collection[int]) -> list[bool]:
    """For each leaf, whether a part of a transform may leave it out."""
    plans = jax.tree.leaves(tx.plan(params))
    if is_a(tx, "fnopt.core", "Rule"):
        # A rule's mask is of this rule alone, as that of weight decay.
        return [False] * len(plans)
    if is_a(tx, "fnopt.core", "Composed"):
        parts = tx.parts()
    elif is_a(tx, "fnopt.core", "Wrapper") and tx.alike:
        parts = (tx.wrapped,)
    else:
        # Each leaf has another plan where nothing is known, as in a transform of optax.
        of_parameters = {plan for i, plan in enumerate(plans) if i not in untrained}
        flags = [plan not in of_parameters for plan in plans]
        return list(map(operator.or_, flags, _passed(tx, params)))
    flags = _passed(tx, params)
    for part in parts:
        if not hasattr(part, "plan"):  # of optax
            return [True] * len(plans)
        flags = list(map(operator.or_, flags, _left_out(part, params, untrained)))
    return flags
