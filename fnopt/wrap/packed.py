"""An optimizer whose slots of small leaves lie in few buffers."""

from __future__ import annotations

from typing import Annotated, Any

import jax
import jax.numpy as jnp

from fnopt.core import Inner, Packing, Wrapper, restrict
from fnopt.core.checks import float_leaves
from fnopt.core.fields import Field
from fnopt.core.moments import cast
from fnopt.core.packable import LIMIT, check_limit
from fnopt.core.packed_trees import is_packed, packing_in
from fnopt.core.types import OptState, Params, Updates


class packed(Wrapper):
    """Keeps the slots of small parameters in few buffers, and computes their updates at once.

    The updates are those of the inner optimizer. Its state is the inner one's, with a
    :class:`Packed` tree instead of a tree of slots; what is not elementwise, such as a trust ratio
    or a method for matrices, works on the leaves as they are.

    Gradients and parameters are packed in ``update`` and the updates unpacked, unless they are
    packed already: a loop that keeps its parameters packed (:class:`Packing`) saves that, and hands
    over fewer buffers.

    Args:
        inner: the optimizer.
        limit: the greatest size of a leaf that is packed, in bytes, at least 0; None for any.

    When:
        Hundreds of small arrays (biases, scales, the layers of a small network), where handing over
        buffers, launching kernels and compiling take longer than the arithmetic.

    >>> import fnopt, jax, jax.numpy as jnp
    >>> params = {"kernel": jnp.ones((2, 3)), "bias": jnp.zeros(3)}
    >>> tx = fnopt.packed(fnopt.sgd(0.1, momentum=0.9))
    >>> jax.tree.leaves(tx.init(params))
    [Array([0., 0., 0., 0., 0., 0., 0., 0., 0.], dtype=float32)]
    """

    inner: Inner
    limit: Annotated[int | None, Field(static=True)] = LIMIT

    inner_state = None

    def __post_init__(self) -> None:
        super().__post_init__()
        check_limit("packed", self.limit)

    @property
    def packs(self) -> bool:
        return True

    def init(self, params: Params) -> OptState:
        float_leaves("params", params)
        # What has no leaves is the placeholder of optax.tree.map_params, or empty.
        if is_packed(params) or not jax.tree.leaves(params):
            return self.inner.init(params)
        return self.inner.init(Packing.of(self.inner, params, self.limit).pack(params))

    def update(
        self, updates: Updates, state: OptState, params: Params = None, **extra_args: Any
    ) -> tuple[Updates, OptState]:
        packing = packing_in(state)
        if packing is None or is_packed(updates):
            return self.inner.update(updates, state, params, **extra_args)
        grads = packing.pack(updates, "updates")
        extra_args = restrict(extra_args, packing.pack, packing.unpack)
        like = None if params is None else packing.pack(params, "params")
        new, state = self.inner.update(grads, state, like, **extra_args)
        # Gradients of several dtypes within one buffer have the widest there.
        pairs = zip(jax.tree.leaves(packing.unpack(new)), jax.tree.leaves(updates), strict=True)
        leaves = [cast(u, jnp.result_type(g)) for u, g in pairs]
        return jax.tree.unflatten(jax.tree.structure(updates), leaves), state

    def eval_params(self, state: OptState, params: Params) -> Params:
        packing = packing_in(state)
        if packing is None or is_packed(params):
            return self.inner.eval_params(state, params)
        like = packing.pack(params)
        evaluated = self.inner.eval_params(state, like)
        return params if evaluated is like else packing.unpack(evaluated)
