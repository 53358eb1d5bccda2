"""Other layouts for a transform to work in: one vector, real and imaginary parts."""

from __future__ import annotations

from itertools import accumulate
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax.contrib

from fnopt.core import Composed, Inner, Transform, Wrapper, restrict
from fnopt.core.checks import float_leaves, leaves_like, same_shape
from fnopt.core.moments import cast
from fnopt.core.plan import LeafPlan
from fnopt.core.select import KeyPath, path_name
from fnopt.core.transform import foreign
from fnopt.core.types import OptState, Params, PyTree, Updates


class flatten(Wrapper):
    """Hands the inner transform all leaves as one vector.

    Its state is the inner transform's. Leaves of several dtypes make a vector of the widest.

    Args:
        inner: the transform. Its formula must act on each element alone, up to numbers that all
            leaves share (:class:`adam`, :class:`clip_by_global_norm`, :class:`dog`), and be the
            same for all leaves.

    Raises:
        ValueError: in ``init`` and ``update``, the inner transform knows layers (a trust ratio, a
            matrix method), or treats leaves differently (a mask, groups); names the leaf.

    When:
        Hundreds of small leaves on an accelerator, where launching kernels takes longer than the
        arithmetic. It copies all parameters twice, and the vector cannot be sharded as they were.
    """

    inner: Inner

    inner_state = None

    @property
    def packs(self) -> bool:
        return False  # it has a layout of its own

    def init(self, params: Params) -> OptState:
        _, leaves, _ = float_leaves("params", params)
        # What has no leaves is the placeholder of optax.tree.map_params, or empty.
        if not leaves:
            return self.inner.init(params)
        vector = _joined(leaves)
        self._check(params, vector)
        return self.inner.init(vector)

    def update(
        self, updates: Updates, state: OptState, params: Params = None, **extra_args: Any
    ) -> tuple[Updates, OptState]:
        paths, grads, treedef = float_leaves("updates", updates)
        if not grads:
            return self.inner.update(updates, state, params, **extra_args)
        if params is not None:
            like = list(map(jnp.asarray, leaves_like(treedef, "params", params, "updates")))
            for path, grad, param in zip(paths, grads, like, strict=True):
                same_shape(path, grad.shape, param.shape, "parameter")
        vector = _joined(grads)
        self._check(updates if params is None else params, vector)
        if params is not None:
            params = _joined(like)

        def spread(vector: jax.Array) -> Any:
            return treedef.unflatten(_parts_of(vector, grads))

        restricted = restrict(extra_args, lambda tree: _joined(jax.tree.leaves(tree)), spread)
        vector, state = self.inner.update(vector, state, params, **restricted)
        return spread(vector), state

    def _check(self, params: Params, vector: jax.Array) -> None:
        """Refuses an inner transform that does not do to the vector what it does to the leaves."""
        plans = jax.tree_util.tree_leaves_with_path(self.inner.plan(params))
        for path, plan in plans:
            if not plan.elementwise:
                culprit = _not_elementwise(self.inner, params, path)
                name = type(culprit).__name__
                cure = (
                    "leave flatten out, or flatten the other parts of the chain alone; if"
                    f" {name} is yours and elementwise, say so in its class: elementwise = True"
                )
                if isinstance(culprit, foreign):
                    name, cure = repr(culprit), "for transformations of optax use optax.flatten"
                raise ValueError(
                    f"flatten: {name} does not act on each element of {_name(path)} alone, as far"
                    " as is known, so that one vector of all leaves would get another update;"
                    f" {cure}"
                )
        path, plan = plans[0]
        others = [other for other, its in plans if its.label != plan.label]
        (packed,) = [plan] if others else jax.tree.leaves(self.inner.plan(vector))
        if others or packed.label != plan.label:
            raise ValueError(
                f"flatten: {type(self.inner).__name__} tells leaves apart, by a mask, by labels or"
                f" by paths, and would treat {_name(others[0] if others else path)} differently"
                " within one vector of all leaves; flatten within each group instead, as"
                " groups(…, flatten(…))"
            )

    def eval_params(self, state: OptState, params: Params) -> Params:
        _, leaves, treedef = float_leaves("params", params)
        if not leaves:
            return params
        vector = _joined(leaves)
        evaluated = self.inner.eval_params(state, vector)
        return params if evaluated is vector else treedef.unflatten(_parts_of(evaluated, leaves))


def _not_elementwise(tx: Transform, params: Params, path: KeyPath) -> Transform:
    """The part of a transform because of which it is not elementwise for the leaf at a path."""
    for part in tx.parts() if isinstance(tx, Composed) else ():
        if not dict(jax.tree_util.tree_leaves_with_path(part.plan(params)))[path].elementwise:
            return _not_elementwise(part, params, path)
    return tx


def _name(path: KeyPath) -> str:
    return path_name(path) or "the parameter"


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
    """The real and the imaginary part of a complex array, or what is known of each."""

    real: Any
    imaginary: Any


class split_real_and_imaginary(Wrapper):
    """Hands the inner transform every complex leaf as two real ones.

    The gradient must be the direction of ascent, the conjugate of what ``jax.grad`` gives for a
    complex leaf.

    Args:
        inner: the transform; of real leaves it sees no difference.

    When:
        A method that makes sense for real numbers alone, as one that takes signs or clips; and for
        a separate rate for each part, where fnopt's methods for complex leaves have one for both.
    """

    inner: Inner

    State = optax.contrib.SplitRealAndImaginaryState

    def plan(self, params: Params) -> PyTree:
        return jax.tree.map(
            lambda plan: _of_both(*plan) if isinstance(plan, Parts) else plan,
            self.inner.plan(split_complex(params)),
            is_leaf=lambda plan: isinstance(plan, Parts),
        )

    def init(self, params: Params) -> OptState:
        return self.State(self.inner.init(split_complex(params)))

    def update(
        self, updates: Updates, state: OptState, params: Params = None, **extra_args: Any
    ) -> tuple[Updates, OptState]:
        params = None if params is None else split_complex(params)
        extra_args = restrict(extra_args, split_complex, joined_complex)
        split, inner_state = self.inner.update(
            split_complex(updates), self.check(state), params, **extra_args
        )
        return joined_complex(split), self.State(inner_state)

    def eval_params(self, state: OptState, params: Params) -> Params:
        parts = split_complex(params)
        evaluated = self.inner.eval_params(state.inner_state, parts)
        return params if evaluated is parts else joined_complex(evaluated)


def _of_both(real: LeafPlan, imaginary: LeafPlan) -> LeafPlan:
    """The plan of a complex leaf from those of its two parts."""
    return LeafPlan(
        frozen=real.frozen and imaginary.frozen,
        leafwise=real.leafwise and imaginary.leafwise,
        elementwise=real.elementwise and imaginary.elementwise,
        keeps_zero=real.keeps_zero and imaginary.keeps_zero,
        label=(real.label, imaginary.label),
    )


def split_complex(tree: PyTree) -> Any:
    """A tree with its complex leaves as two real ones."""
    return jax.tree.map(lambda x: Parts(x.real, x.imag) if jnp.iscomplexobj(x) else x, tree)


def joined_complex(tree: PyTree) -> Any:
    """The tree that :func:`split_complex` has split."""
    return jax.tree.map(
        lambda x: jax.lax.complex(*x) if isinstance(x, Parts) else x,
        tree,
        is_leaf=lambda x: isinstance(x, Parts),
    )
