"""Other layouts for a transform to work in: one vector, real and imaginary parts."""

from __future__ import annotations

from itertools import accumulate
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax.contrib

from fnopt.core import Inner, Wrapper, restrict
from fnopt.core.checks import float_leaves, leaves_like, same_shape
from fnopt.core.moments import cast
from fnopt.core.types import OptState, Params


class flatten(Wrapper):
    """Hands the inner transform all leaves as one vector.

    Its state is the inner transform's. Leaves of several dtypes make a vector of the widest.

    Args:
        inner: the transform. One that acts on every element alone, or on all leaves together,
            does what it did; one that knows layers (a trust ratio, a matrix method) sees none.

    When:
        Hundreds of small leaves on an accelerator, where launching kernels takes longer than the
        arithmetic. It copies all parameters twice, and the vector cannot be sharded as they were.
    """

    inner: Inner

    def init(self, params: Any) -> Any:
        _, leaves, _ = float_leaves("params", params)
        # What has no leaves is the placeholder of optax.tree.map_params, or empty.
        return self.inner.init(_joined(leaves) if leaves else params)

    def update(
        self, updates: Any, state: Any, params: Any = None, **extra_args: Any
    ) -> tuple[Any, Any]:
        paths, grads, treedef = float_leaves("updates", updates)
        if not grads:
            return self.inner.update(updates, state, params, **extra_args)
        if params is not None:
            like = list(map(jnp.asarray, leaves_like(treedef, "params", params, "updates")))
            for path, grad, param in zip(paths, grads, like, strict=True):
                same_shape(path, grad.shape, param.shape, "parameter")
            params = _joined(like)

        def spread(vector: jax.Array) -> Any:
            return treedef.unflatten(_parts_of(vector, grads))

        given = restrict(extra_args, lambda tree: _joined(jax.tree.leaves(tree)), spread)
        vector, state = self.inner.update(_joined(grads), state, params, **given)
        return spread(vector), state

    def count(self, state: Any) -> jax.Array | None:
        return self.inner.count(state)

    def eval_params(self, state: OptState, params: Params) -> Params:
        _, leaves, treedef = float_leaves("params", params)
        if not leaves:
            return params
        vector = _joined(leaves)
        evaluated = self.inner.eval_params(state, vector)
        return params if evaluated is vector else treedef.unflatten(_parts_of(evaluated, leaves))

    def hyperparameters(self, state: Any, **extra_args: Any) -> dict[str, Any]:
        return self.inner.hyperparameters(state, **extra_args)


def _joined(leaves: list[jax.Array]) -> jax.Array:
    with jax.numpy_dtype_promotion("standard"):
        widest = jnp.result_type(*leaves)
    return jnp.concatenate([cast(leaf.reshape(-1), widest) for leaf in leaves])


def _parts_of(vector: jax.Array, leaves: list[jax.Array]) -> list[jax.Array]:
    """The parts of a joined vector, in the shapes and dtypes of these leaves."""
    ends = list(accumulate(leaf.size for leaf in leaves))
    parts = zip(jnp.split(vector, ends[:-1]), leaves, strict=True)
    return [_as(part.reshape(leaf.shape), leaf.dtype) for part, leaf in parts]


def _as(x: jax.Array, dtype: Any) -> jax.Array:
    real = jnp.iscomplexobj(x) and not jnp.issubdtype(dtype, jnp.complexfloating)
    return cast(x.real if real else x, dtype)


class Parts(NamedTuple):
    """A complex array as two real ones."""

    real: jax.Array
    imaginary: jax.Array


class split_real_and_imaginary(Wrapper):
    """Hands the inner transform every complex leaf as two real ones.

    The gradient must be the direction of ascent, the conjugate of what ``jax.grad`` gives for a
    complex leaf.

    Args:
        inner: the transform; of real leaves it sees no difference.

    When:
        A method that makes sense for real numbers alone, as one that takes signs or clips; and for
        a rate of its own for each part, where fnopt's methods for complex leaves have one for both.
    """

    inner: Inner

    State = optax.contrib.SplitRealAndImaginaryState

    def init(self, params: Any) -> Any:
        return self.State(self.inner.init(split_complex(params)))

    def update(
        self, updates: Any, state: Any, params: Any = None, **extra_args: Any
    ) -> tuple[Any, Any]:
        params = None if params is None else split_complex(params)
        split, inner_state = self.inner.update(
            split_complex(updates), self.check(state), params, **extra_args
        )
        return joined_complex(split), self.State(inner_state)

    def eval_params(self, state: OptState, params: Params) -> Params:
        parts = split_complex(params)
        evaluated = self.inner.eval_params(state.inner_state, parts)
        return params if evaluated is parts else joined_complex(evaluated)


def split_complex(tree: Any) -> Any:
    """A tree with its complex leaves as two real ones."""
    return jax.tree.map(lambda x: Parts(x.real, x.imag) if jnp.iscomplexobj(x) else x, tree)


def joined_complex(tree: Any) -> Any:
    """The tree that :func:`split_complex` has split."""
    return jax.tree.map(
        lambda x: jax.lax.complex(*x) if isinstance(x, Parts) else x,
        tree,
        is_leaf=lambda x: isinstance(x, Parts),
    )
