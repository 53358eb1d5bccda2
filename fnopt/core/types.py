"""Type aliases: each says what a tree contains.

They are aliases of ``Any``, since a tree of arrays is any container, registered or not, and optax
accepts them all; the names are for readers.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import jax

PyTree: TypeAlias = Any
"""Any tree that ``jax.tree`` can go through."""
Params: TypeAlias = Any
"""A tree of floating-point arrays to be optimized."""
Updates: TypeAlias = Any
"""A tree like the parameters: gradients, or the outputs of transforms."""
OptState: TypeAlias = Any
"""What ``init`` of a transform returns: a named tuple or another container of arrays."""
Slots: TypeAlias = Any
"""A named tuple of the arrays that a rule keeps for one parameter."""
ModelState: TypeAlias = Any
"""A tree of what the forward pass changes besides the parameters: batch statistics."""
Batch: TypeAlias = Any
"""A tree of arrays with examples along their first axis."""
Outputs: TypeAlias = Any
"""What a model returns for a batch."""
Metrics: TypeAlias = dict[str, jax.Array]
"""Numbers that a step or an evaluation reports, by name."""
Numeric: TypeAlias = Any
"""A Python number, an array or a traced value."""
Arrays: TypeAlias = list[jax.Array]
"""One array for each leaf, in the order of the leaves."""
Rows: TypeAlias = list[Slots]
"""The slots of each leaf, in the order of the leaves."""
LeafUpdate: TypeAlias = tuple[jax.Array, dict[str, Any]]
"""The direction of one leaf and its next slots by name."""
LeavesUpdate: TypeAlias = tuple[Arrays, list[dict[str, Any]], dict[str, Any]]
"""The directions of all leaves, their next slots by name, and the next shared values by name."""
