"""What is no tree of parameters: models, variables of Flax that are not trained, tensors of torch.

The libraries are not imported: their classes are known by name.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping
from typing import Any

import jax

from fnopt.core.types import Params

_NNX_PARAMS = "pass nnx.state(model, nnx.Param)"
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
        tx: the transform; what it freezes may be in the tree.
        params: the argument of ``init``.

    Raises:
        TypeError: it is a model, or has leaves that are no parameters.
    """
    kind = type(tx).__name__
    # A part may have no state of parameters, and None is a tree without leaves.
    if params is None and tx.family not in ("parts", "wrappers"):
        raise TypeError(f"{kind}: init got None instead of a tree of parameters: tx.init(params)")
    if is_a(params, "flax.nnx", "Module"):
        raise TypeError(
            f"{kind}: init got an NNX model ({type(params).__name__}); {_NNX_PARAMS}, without its"
            " batch statistics and keys"
        )
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
    if untrained and not _are_frozen(tx, params, untrained):
        path, what = untrained[min(untrained)]
        raise TypeError(f"{kind}: params{path} is no parameter but {what}")


def refused_leaves(params: Params) -> str | None:
    """The cure where ``init`` has failed on a tree with leaves of another library."""
    if is_a(params, "equinox", "Module"):
        return (
            f"init got an Equinox module ({type(params).__name__}) with leaves that are no"
            " floating-point arrays; pass eqx.filter(model, eqx.is_inexact_array)"
        )
    for path, leaf in jax.tree_util.tree_leaves_with_path(params):
        if is_a(leaf, "torch", "Tensor"):
            return f"params{jax.tree_util.keystr(path)} is a tensor of torch; {_TENSORS}"
    return None


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

    def is_variable(x: Any) -> bool:
        return is_a(x, "flax.nnx", "Variable")

    i = 0
    for path, leaf in jax.tree_util.tree_leaves_with_path(params, is_leaf=is_variable):
        what = ""
        if is_variable(leaf):
            kind = next((k for k in _UNTRAINED if is_a(leaf, "flax.nnx", k)), None)
            what = f"a variable of the kind {type(leaf).__name__}; {_NNX_PARAMS}" if kind else ""
        elif linen and path[0].key != "params":
            what = f"of the collection {path[0].key!r}; pass variables['params'] alone"
        for _ in jax.tree.leaves(leaf):
            if what:
                found[i] = jax.tree_util.keystr(path), what
            i += 1
    return found


def _are_frozen(tx: Any, params: Params, positions: Any) -> bool:
    flags = jax.tree.leaves(tx.frozen(params))
    return all(flags[i] for i in positions)
