"""Optimizer states of optax as states of fnopt."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from fnopt.core.transform import as_transform
from fnopt.core.types import OptState, Params


def import_optax_state(tx: Any, optax_state: OptState, params: Params) -> OptState:
    """A state of optax's optimizer as the state of the same method here.

    Arrays are matched by the names of the states' fields and the paths in the parameters:
    ``mu['w']`` here is ``mu['w']`` there, at any positions in their chains; several of one name are
    matched in order. Of more counts than are needed here the first are used.

    Args:
        tx: the optimizer to continue with.
        optax_state: the state of optax's optimizer.
        params: the parameters; only their shapes are needed.

    Returns:
        A state as ``tx.init`` makes it.

    Raises:
        ValueError: something is missing, left over, or of another shape; names the paths.

    >>> import fnopt, optax, jax.numpy as jnp
    >>> state = fnopt.train.import_optax_state(
    ...     fnopt.adam(1e-3), optax.adam(1e-3).init(jnp.zeros(2)), jnp.zeros(2)
    ... )
    >>> int(state[0].count)
    0
    """
    expected = jax.eval_shape(as_transform(tx).init, params)
    leaves, treedef = jax.tree_util.tree_flatten_with_path(expected)
    arrays, wrong, unused = [], [], _by_field(optax_state)
    for path, leaf in leaves:
        name = _field(path)
        array = unused[name].pop(0) if unused.get(name) else None
        if array is None or np.shape(array) != leaf.shape:
            got = "missing" if array is None else _described(array)
            wrong.append(f"{name}: {got} there, {_described(leaf)} here")
            continue
        # A copy: a step takes over the buffers.
        arrays.append(jnp.array(array, dtype=leaf.dtype))
    wrong += [
        f"{name}: {_described(x)} there, missing here"
        for name, leaves in unused.items()
        for x in leaves
        if not _is_redundant(name, x)
    ]
    if wrong:
        raise ValueError(
            f"import_optax_state: the state is not one of {type(tx).__name__}:\n  "
            + "\n  ".join(wrong)
        )
    return treedef.unflatten(arrays)


def _by_field(state: Any) -> dict[str, list[Any]]:
    fields: dict[str, list[Any]] = {}
    for path, leaf in jax.tree_util.tree_flatten_with_path(state)[0]:
        fields.setdefault(_field(path), []).append(leaf)
    return fields


def _field(path: Any) -> str:
    """The path from the first field on: without the positions in chains."""
    named = [i for i, key in enumerate(path) if isinstance(key, jax.tree_util.GetAttrKey)]
    return jax.tree_util.keystr(path[named[0] :] if named else path).removeprefix(".")


def _described(x: Any) -> str:
    return f"{np.shape(x)} {jnp.result_type(x)}"


def _is_redundant(name: str, x: Any) -> bool:
    # optax counts for a schedule what is counted already; its placeholders are single zeros.
    return name == "count" or (np.size(x) <= 1 and not np.any(np.asarray(x)))
