"""Sums of the gradients of single examples, each clipped first."""

from __future__ import annotations

import math
from typing import Any

import jax
import jax.numpy as jnp

from fnopt.core import computing_dtype, divide
from fnopt.core.moments import cast
from fnopt.core.norms import norm_by_row
from fnopt.core.types import Numeric, PyTree, Updates


def per_example_global_norm_clip(
    grads: Updates, l2_norm_clip: Numeric
) -> tuple[Updates, jax.Array]:
    r"""Sums gradients of examples, the norm of each over all leaves bounded.

    .. math:: \textstyle\sum_i g_i \cdot \min(1, c / \lVert g_i \rVert)

    Args:
        grads: a tree whose leaves have the examples along their first axis.
        l2_norm_clip: :math:`c \ge 0`.

    Returns:
        The sum, and the number of examples that were clipped.

    Raises:
        ValueError: a leaf has no first axis, or one of another length; names its path.

    References:
        Abadi et al., *Deep learning with differential privacy*, CCS 2016, arXiv:1607.00133,
        Algorithm 1, *Clip gradient*.

    >>> import fnopt, jax.numpy as jnp
    >>> grads = [jnp.array([[0.0, 0.0], [3.0, 4.0], [6.0, 8.0]])]
    >>> fnopt.per_example_global_norm_clip(grads, 5.0)
    ([Array([6., 8.], dtype=float32)], Array(1, dtype=int32))
    """
    leaves, treedef = jax.tree.flatten(grads)
    number_of_examples(grads)
    wide = computing_dtype(*(leaf.dtype for leaf in leaves))
    real = jnp.finfo(wide).dtype
    leaves = [cast(jnp.asarray(leaf), computing_dtype(leaf.dtype, real)) for leaf in leaves]
    norms = norm_by_row(leaves) if leaves else jnp.zeros(0, real)
    bound = jnp.asarray(l2_norm_clip).astype(real)
    # The share of a very large gradient need not be representable; a large multiple of it is.
    exponent = int(jnp.finfo(real).maxexp)
    lift = jnp.where(bound < 2.0 ** (exponent // 16), 2.0 ** (exponent // 2), 1.0).astype(real)
    share = jnp.minimum(divide(bound * lift, norms, otherwise=lift), lift)
    total = [
        jnp.tensordot(cast(share, leaf.dtype), leaf, axes=1) / cast(lift, leaf.dtype)
        for leaf in leaves
    ]
    dtypes = [jnp.result_type(leaf) for leaf in jax.tree.leaves(grads)]
    total = [
        cast(leaf, dtype) if jnp.issubdtype(dtype, jnp.inexact) else leaf
        for leaf, dtype in zip(total, dtypes, strict=True)
    ]
    return treedef.unflatten(total), jnp.sum(norms > bound, dtype=jnp.int32)


def per_example_layer_norm_clip(
    grads: Updates, global_l2_norm_clip: Numeric, uniform: bool = True
) -> tuple[Updates, PyTree]:
    r"""Sums gradients of examples, the norm of each in every leaf bounded.

    Of :math:`K` leaves the :math:`k`-th has the bound :math:`c / \sqrt K`, or, by its share of the
    :math:`D` parameters, :math:`c \sqrt{D_k / D}`; the norm of all together is at most :math:`c`.

    Args:
        grads: a tree whose leaves have the examples along their first axis.
        global_l2_norm_clip: :math:`c \ge 0`.
        uniform: the same bound for all leaves.

    Returns:
        The sum, and for every leaf the number of examples that were clipped.

    Raises:
        ValueError: a leaf has no first axis, or one of another length; names its path.

    References:
        McMahan, Ramage, Talwar & Zhang, *Learning differentially private recurrent language
        models*, ICLR 2018, arXiv:1710.06963, section 2, *per-layer clipping*.

    >>> import fnopt, jax.numpy as jnp
    >>> grads = [jnp.array([[3.0], [4.0]]), jnp.array([[0.0], [3.0]])]  # two examples, two leaves
    >>> fnopt.per_example_layer_norm_clip(grads, 2.0**0.5)
    ([Array([2.], dtype=float32), Array([1.], dtype=float32)],
     [Array(2, dtype=int32), Array(1, dtype=int32)])
    """
    leaves, treedef = jax.tree.flatten(grads)
    number_of_examples(grads)
    sizes = [math.prod(leaf.shape[1:]) for leaf in leaves]
    shares = [1 / len(leaves) if uniform else size / sum(sizes) for size in sizes]
    both = [
        per_example_global_norm_clip(leaf, global_l2_norm_clip * math.sqrt(share))
        for leaf, share in zip(leaves, shares, strict=True)
    ]
    return tuple(treedef.unflatten([pair[i] for pair in both]) for i in (0, 1))  # pyright: ignore


def number_of_examples(grads: Any) -> int:
    """The length of the first axis of all leaves; raises ValueError if there is no such one."""
    examples = None
    for path, leaf in jax.tree_util.tree_leaves_with_path(grads):
        shape = jnp.shape(leaf)
        if not shape or examples not in (None, shape[0]):
            length = "" if examples is None else f" of {examples}, as the leaves before it"
            raise ValueError(
                f"updates{jax.tree_util.keystr(path)} has shape {shape}, but gradients of single"
                f" examples are needed: a first axis{length}; get them with jax.vmap(jax.grad(…))"
            )
        examples = shape[0]
    return examples or 0
