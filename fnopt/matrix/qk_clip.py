"""QK-Clip: weights of attention rescaled where its logits have become too large."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any

import jax
import jax.numpy as jnp
import optax

from fnopt.core import Transform, computing_dtype, required
from fnopt.core.checks import Interval, brief, float_leaves, refuse_state, updates_and_params
from fnopt.core.fields import Field, as_number
from fnopt.core.moments import cast
from fnopt.core.paths import path_name
from fnopt.core.select import matches, nearest, show
from fnopt.core.types import OptState, Params, Updates
from fnopt.matrix.heads import NAME, along_heads, logits_by_module, logits_of_leaf


def _as_pairs(value: Any) -> tuple[tuple[Any, float], ...]:
    pairs = value.items() if isinstance(value, dict) else value
    pairs = tuple(pairs) if isinstance(pairs, Iterable) and not isinstance(pairs, str) else ()
    if not pairs or not all(isinstance(pair, (tuple, list)) and len(pair) == 2 for pair in pairs):
        raise TypeError(
            f'must be pairs of a pattern and an exponent, as (("*/query/*", 0.5),), got'
            f" {brief(value)}"
        )
    for _, exponent in pairs:
        if not isinstance(as_number(exponent), float):
            raise TypeError(f"the exponents must be numbers, got {brief(exponent)}")
    return tuple(
        (tuple(pattern) if isinstance(pattern, list) else pattern, float(exponent))
        for pattern, exponent in pairs
    )


Exponents = Annotated[
    Any,
    Field(
        convert=_as_pairs, static=True, shown="Sequence[tuple[Pattern, float]] | dict[str, float]"
    ),
]
Threshold = Annotated[Any, Field(Interval("(0, inf)"))]


class qk_clip(Transform):
    r"""Shrinks the queries and keys of every head whose largest logit is above a threshold.

    .. math:: \gamma_h = \min(1, \tau / S_h), \qquad u = \gamma_h^{\,a}\,(\theta + g) - \theta

    for the part of a leaf that belongs to head :math:`h`, with :math:`g` the step before and
    :math:`S_h` the largest logit of the head, in absolute value or not, among those that the
    gradient was computed with. With :math:`a = 1/2` for queries and keys, logits shrink by
    :math:`\gamma_h`. It stands last in a chain, where the updates are steps; behind :class:`muon`
    it makes MuonClip of it.

    ``update`` takes the logits as ``max_logits``: an array for all leaves, or a tree with an array
    for each attention. Its path, up to a key ``max_logits``, must be the beginning of that of the
    leaf: ``{"blocks/0/attention": array}`` is one, and so is what Flax's ``sow`` collects by this
    name. An array has the heads as its last axis, and before it those of a stack of layers, which
    are the first axes of the leaf. No axes mean one head.

    The heads of a leaf are along its last axis but one, as in kernels of Flax, or along its only
    axis. Where that is longer than the number of heads, as in weights of torch and Equinox, each
    head has a part of it.

    Args:
        exponents: pairs of a pattern of paths and :math:`a`, or a dict of them; the first that
            matches a leaf wins. Other leaves stay as they are.
        threshold: the largest logit allowed, :math:`\tau > 0`.

    Raises:
        ValueError: ``max_logits`` or the parameters are missing; no leaf matches a pattern, no
            array belongs to a leaf, or its heads do not divide the axis.

    When:
        Attention logits grow during a long run, as with Muon, and queries and keys are not
        normalized. Computing the largest logit needs them in one place, which fast attention does
        not keep.

    References:
        Kimi Team, *Kimi K2: open agentic intelligence*, 2025, arXiv:2507.20534, Algorithm 1, where
        :math:`\tau = 100`. In its latent attention the exponents are 1/2 for the parts of queries
        and keys that each head has, 1 for rotary queries, and rotary keys, which heads share, stay.
        For grouped queries do the same: 1 for queries and none for the keys that heads share.

    >>> import fnopt, jax.numpy as jnp
    >>> tx = fnopt.chain(fnopt.sgd(0.1), fnopt.qk_clip({"query": 0.5, "key": 0.5}, 10.0))
    >>> params = {"query": jnp.ones((3, 2, 4)), "key": jnp.ones((3, 2, 4))}
    >>> zero = {"query": jnp.zeros((3, 2, 4)), "key": jnp.zeros((3, 2, 4))}
    >>> updates, _ = tx.update(zero, tx.init(params), params, max_logits=jnp.array([5.0, 40.0]))
    >>> updates["key"][0, :, 0]
    Array([ 0. , -0.5], dtype=float32)
    """

    exponents: Exponents = (("*/query/*", 0.5), ("*/key/*", 0.5))
    threshold: Threshold = 100.0
    family = "parts"

    leafwise = True

    def init(self, params: Params) -> OptState:
        float_leaves("params", params)
        self._check_patterns(params)
        return optax.EmptyState()

    def update(
        self, updates: Updates, state: OptState, params: Params = None, **extra_args: Any
    ) -> tuple[Updates, OptState]:
        if jax.tree.leaves(state):
            refuse_state(self, state)
        logits = logits_by_module(required(self, NAME, extra_args.get(NAME)))
        updates, params = updates_and_params(self, updates, params)

        def clipped(path: Any, update: jax.Array, param: jax.Array) -> jax.Array:
            name = path_name(path)
            exponent = self._exponent(name, param)
            if exponent is None:
                return update
            wide = computing_dtype(update.dtype, param.dtype)
            real = jnp.finfo(wide).dtype
            largest = jnp.asarray(logits_of_leaf(name, logits)).astype(real)
            threshold = jnp.asarray(self.threshold).astype(real)
            # Not the quotient, which is not finite where a head has no logits.
            factor = jnp.where(largest > threshold, (threshold / largest) ** exponent, 1)
            shrinks = cast(along_heads(name, factor, param.shape) - 1, wide)
            # What is not clipped keeps its step to the bit.
            step = cast(update, wide)
            return cast(step + shrinks * (cast(param, wide) + step), update.dtype)

        return jax.tree_util.tree_map_with_path(clipped, updates, params), state

    def _exponent(self, path: str, leaf: Any) -> float | None:
        pairs = (own for pattern, own in self.exponents if matches(pattern, path, leaf))
        return next(pairs, None)

    def _check_patterns(self, params: Params) -> None:
        named = {path_name(p): leaf for p, leaf in jax.tree_util.tree_leaves_with_path(params)}
        for pattern, _ in self.exponents:
            if named and not any(matches(pattern, *own) for own in named.items()):
                near = ", ".join(map(repr, nearest(pattern, named)))
                raise ValueError(
                    f"qk_clip: {show(pattern)!r} in exponents matches no leaf; the nearest paths"
                    f" are {near}"
                )
