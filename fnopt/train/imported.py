"""Optimizer states that optax has made, as fnopt's."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from fnopt.core.transform import as_transform


def import_optax_state(tx: Any, optax_state: Any, params: Any) -> Any:
    """The state of the same method, made by optax, as the state of ``tx``.

    What belongs together is told by the names of the states' fields and the paths in the
    parameters: ``mu['w']`` here is ``mu['w']`` there, wherever the two stand in their chains; of
    several, the first is the first. Of more counts than are needed here the first are taken.

    Args:
        tx: the optimizer to go on with.
        optax_state: of optax's optimizer.
        params: the parameters; of them the shapes alone are needed.

    Raises:
        ValueError: something is missing, left over, or of another shape; names the paths.

    >>> import fnopt, optax, jax.numpy as jnp
    >>> state = fnopt.train.import_optax_state(
    ...     fnopt.adam(1e-3), optax.adam(1e-3).init(jnp.zeros(2)), jnp.zeros(2)
    ... )
    >>> int(state[0].count)
    0
    """
    here = jax.eval_shape(as_transform(tx).init, params)
    there = _by_field(optax_state)
    leaves, treedef = jax.tree_util.tree_flatten_with_path(here)
    taken, wrong, left = [], [], {name: list(found) for name, found in there.items()}
    for path, leaf in leaves:
        name = _field(path)
        found = left[name].pop(0) if left.get(name) else None
        if found is None or np.shape(found) != leaf.shape:
            got = "missing" if found is None else _told(found)
            wrong.append(f"{name}: {got} there, {_told(leaf)} here")
            continue
        # An array of its own: a step takes over the buffers.
        taken.append(jnp.array(found, dtype=leaf.dtype))
    wrong += [
        f"{name}: {_told(x)} there, missing here"
        for name, rest in left.items()
        for x in rest
        if not _says_nothing(name, x)
    ]
    if wrong:
        raise ValueError(
            f"import_optax_state: the state is not one of {type(tx).__name__}:\n  "
            + "\n  ".join(wrong)
        )
    return treedef.unflatten(taken)


def _by_field(state: Any) -> dict[str, list[Any]]:
    found: dict[str, list[Any]] = {}
    for path, leaf in jax.tree_util.tree_flatten_with_path(state)[0]:
        found.setdefault(_field(path), []).append(leaf)
    return found


def _field(path: Any) -> str:
    """The path from the first field on: without the places in chains."""
    named = [i for i, key in enumerate(path) if isinstance(key, jax.tree_util.GetAttrKey)]
    return jax.tree_util.keystr(path[named[0] :] if named else path).removeprefix(".")


def _told(x: Any) -> str:
    return f"{np.shape(x)} {jnp.result_type(x)}"


def _says_nothing(name: str, x: Any) -> bool:
    # optax counts for a schedule what is counted already; its placeholders are single zeros.
    return name == "count" or (np.size(x) <= 1 and not np.any(np.asarray(x)))
