"""A transform for some leaves: masks and freezing."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import optax

from fnopt.core import Inner, Mask, Static, Wrapper, restrict, set_to_zero
from fnopt.core.calls import Call, Steps, run
from fnopt.core.checks import leaves_like
from fnopt.core.plan import UNTOUCHED
from fnopt.core.types import OptState, Params, PyTree, Updates


class masked(Wrapper):
    """Transforms the updates of some leaves; those of the others pass as they are.

    The inner transform sees an ``optax.MaskedNode`` instead of a leaf or subtree that is left out,
    and has no state for it; such a leaf may be of any kind.

    Args:
        inner: the transform.
        mask: True for the leaves to transform: a tree of flags, a prefix of one, a function of the
            parameters (of the updates where there are none) that returns one, a glob of paths as
            ``"*/kernel"``, or a tuple of globs.
        mask_compatible_extra_args: mask those extra arguments too that have the updates' structure.

    Raises:
        ValueError: the flags are no prefix of the parameters, or a glob matches none.

    When:
        A part of a chain that is not for all leaves. To train some leaves only, use
        :func:`selective_transform`: what is masked out here keeps its gradient.

    >>> import fnopt
    >>> fnopt.masked(fnopt.add_decayed_weights(1e-4), {"w": True, "b": False})
    masked(inner=add_decayed_weights(weight_decay=0.0001), mask={'b': False, 'w': True}, \
mask_compatible_extra_args=False)
    """

    inner: Inner
    mask: Mask
    _: dataclasses.KW_ONLY
    mask_compatible_extra_args: Static[bool] = False

    State = optax.MaskedState

    def init(self, params: Params) -> OptState:
        inner = self.inner.for_params(params)
        return self.State(inner.init(_hidden(params, self._flags(params))))

    def update(
        self, updates: Updates, state: OptState, params: Params = None, **extra_args: Any
    ) -> tuple[Updates, OptState]:
        return run(self.steps(updates, state, params, **extra_args))

    def steps(
        self, updates: Updates, state: OptState, params: Params = None, **extra_args: Any
    ) -> Steps:
        """The call of the inner transform that ``update`` consists of."""
        inner_state = self.check(state)
        flags = self._flags(updates if params is None else params)
        if params is not None:
            leaves_like(jax.tree.structure(updates), "params", params, "updates")
        if self.mask_compatible_extra_args:
            structure = jax.tree.structure(updates)
            extra_args = {
                name: _hidden(x, flags) if jax.tree.structure(x) == structure else x
                for name, x in extra_args.items()
            }
        if params is not None:
            extra_args = restrict(
                extra_args,
                lambda tree: _hidden(tree, flags),
                lambda part: jax.tree.map(lambda m, a, b: a if m else b, flags, part, params),
            )
        new, inner_state = yield Call(
            self.inner.for_params(updates if params is None else params),
            _hidden(updates, flags),
            inner_state,
            None if params is None else _hidden(params, flags),
            extra_args,
        )
        return jax.tree.map(lambda m, n, u: n if m else u, flags, new, updates), self.State(
            inner_state
        )

    def eval_params(self, state: OptState, params: Params) -> Params:
        flags = self._flags(params)
        part = _hidden(params, flags)
        evaluated = self.inner.for_params(params).eval_params(state.inner_state, part)
        if evaluated is part:
            return params
        return jax.tree.map(lambda m, new, old: new if m else old, flags, evaluated, params)

    def plan(self, params: Params) -> PyTree:
        flags = self._flags(params)
        return jax.tree.map(
            lambda flag, plans, sub: plans if flag else jax.tree.map(lambda leaf: UNTOUCHED, sub),
            flags,
            self.inner.for_params(params).plan(_hidden(params, flags)),
            params,
        )

    def _flags(self, tree: PyTree) -> Any:
        # What has no leaves is the placeholder of optax.tree.map_params, or empty.
        return self.mask.prefix(tree) if jax.tree.leaves(tree) else True


def _hidden(tree: PyTree, flags: PyTree) -> PyTree:
    return jax.tree.map(lambda flag, sub: sub if flag else optax.MaskedNode(), flags, tree)


def freeze(mask: PyTree) -> masked:
    """Makes the updates of some leaves zero, so that they stay; the rest pass.

    Args:
        mask: True for the leaves to freeze; otherwise as that of :class:`masked`.

    When:
        Last in a chain. The parts before it still keep slots for the frozen leaves;
        :func:`selective_transform` saves them.

    >>> import fnopt, jax.numpy as jnp
    >>> tx = fnopt.chain(fnopt.sgd(0.1), fnopt.freeze("body"))
    >>> params = {"body": jnp.array(1.0), "head": jnp.array(1.0)}
    >>> tx.update(params, tx.init(params), params)[0]["body"]
    Array(0., dtype=float32)
    """
    return masked(set_to_zero(), mask)
