"""Population based training: how a population of runs copies the best and varies their numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from fnopt.core.checks import brief, one_of
from fnopt.core.prng import typed_key
from fnopt.core.select import nearest, path_name
from fnopt.core.types import PyTree
from fnopt.sweeps.leaves import dotted, stands_in


class PopulationStep(NamedTuple):
    """The population after a step of exploitation and exploration.

    Attributes:
        states: the states, a tree like the one before.
        sources: for each run the number of the run that it was copied from, its own if it goes on
            as it was; shape (runs,).
    """

    states: PyTree
    sources: jax.Array


def exploit_and_explore(
    key: Any,
    states: PyTree,
    scores: Any,
    hyperparameters: Mapping[str, tuple[float, float]],
    *,
    mode: str = "min",
    share: float = 0.2,
    factors: Sequence[float] = (0.8, 1.2),
) -> PopulationStep:
    r"""The step of population based training between two stretches of training.

    *Exploit*, by truncation selection: a run among the worst :math:`\lfloor sn \rfloor` of
    :math:`n` (at least one) is replaced by a copy of one drawn evenly from the best
    :math:`\lfloor sn \rfloor`, and so is every run whose score is not finite. *Explore*: in a copy
    each hyperparameter :math:`h` becomes

    .. math:: \min(\max(f h,\ \text{low}),\ \text{high}), \qquad f \text{ drawn from the factors}

    All other runs go on as they were, to the bit. If no score is finite, nothing changes. A pure
    function, which may be compiled.

    Args:
        key: a PRNG key, or an integer to make one.
        states: the stacked states, a :class:`~fnopt.train.TrainState` or any tree whose leaves have
            the runs along the first axis. Leaves that are random keys stay each run's own, so that
            a copy sees other batches and other dropout than its source.
        scores: the metric of each run, shape (runs,), at least two. Of equal ones the first is the
            better.
        hyperparameters: the numbers to vary, each with its lowest and highest value, such as
            ``{"learning_rate": (1e-5, 1.0)}``. A name stands for all leaves in whose own it is a
            whole field or several, as for :func:`tune`: ``"learning_rate.init_value"`` for one
            number of a schedule, ``"learning_rate"`` for all of them. These get the same factor.
            Of the numbers of a schedule or another part those outside of the range, such as a
            number of steps, stay. In a train state names are looked for in the optimizer.
        mode: ``"min"`` if a smaller score is better, ``"max"`` if a larger one is.
        share: the share :math:`s` of the runs that are replaced, in (0, 0.5].
        factors: the factors, at least one, each above 0.

    Returns:
        The states and where each came from.

    Raises:
        ValueError: a leaf has another first axis than the scores, there is no leaf of a name, or an
            argument is outside of its range.

    References:
        Jaderberg et al., *Population based training of neural networks*, 2017, arXiv:1711.09846,
        sections 3 and 4.1.1 (truncation selection; perturbation by 0.8 or 1.2).

    >>> import fnopt
    >>> tx = fnopt.sgd(jnp.array([0.1, 0.2, 0.3, 0.4, 0.5]))
    >>> step = exploit_and_explore(
    ...     0, tx, jnp.array([5.0, 4.0, 1.0, 2.0, 3.0]), {"learning_rate": (1e-4, 1.0)}
    ... )
    >>> step.sources.tolist()
    [2, 1, 2, 3, 4]
    >>> step.states.learning_rate[1:]  # the first is 0.24 or 0.36
    Array([0.2, 0.3, 0.4, 0.5], dtype=float32)
    """
    one_of("exploit_and_explore: mode", mode, ("min", "max"))
    _check_range("share", share, 0 < share <= 0.5, "(0, 0.5]")
    factor_array = np.asarray(factors, np.float32)
    good = factor_array.ndim == 1 and factor_array.size > 0 and bool((factor_array > 0).all())
    _check_range("factors", factors, good, "(0, inf), and there must be one at least")
    scores = jnp.asarray(scores)
    _check_runs(states, scores)
    copy_key, vary_key = jax.random.split(typed_key(key))
    sources = _sources(copy_key, scores, mode, share)
    copied = jax.tree.map(lambda leaf: _taken(leaf, sources), states)
    replaced = sources != jnp.arange(len(scores))
    return PopulationStep(
        _varied(vary_key, copied, replaced, hyperparameters, factor_array), sources
    )


def _sources(key: jax.Array, scores: jax.Array, mode: str, share: float) -> jax.Array:
    """The run that each is copied from."""
    number = len(scores)
    cut = max(1, int(share * number + 1e-6))
    finite = jnp.isfinite(scores)
    scores = scores.astype(jnp.result_type(float))
    worth = jnp.where(finite, -scores if mode == "max" else scores, jnp.inf)
    order = jnp.argsort(worth, stable=True)
    ranks = jnp.zeros(number, int).at[order].set(jnp.arange(number))
    # A run that diverged is never copied, so that the best may be fewer than the share.
    best = jnp.clip(jnp.sum(finite), 1, cut)
    drawn = order[jax.random.randint(key, (number,), 0, best)]
    replaced = ((ranks >= number - cut) | ~finite) & jnp.any(finite)
    return jnp.where(replaced, drawn, jnp.arange(number, dtype=drawn.dtype))


def _taken(leaf: Any, sources: jax.Array) -> Any:
    if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
        return leaf
    return jnp.take(leaf, sources, axis=0, mode="clip")


def _varied(
    key: jax.Array,
    states: PyTree,
    replaced: jax.Array,
    hyperparameters: Mapping[str, tuple[float, float]],
    factors: np.ndarray,
) -> PyTree:
    """The states with the hyperparameters of the runs that were replaced multiplied."""
    leaves, structure = jax.tree.flatten(states)
    for number, (name, bounds) in enumerate(hyperparameters.items()):
        low, high = bounds_of(name, bounds)
        draw = jax.random.randint(jax.random.fold_in(key, number), replaced.shape, 0, len(factors))
        factor = jnp.asarray(factors)[draw]
        for path, i in _places(states, name).items():
            alone = f".{path}".endswith(f".{dotted(name)}")
            leaves[i] = _multiplied(leaves[i], replaced, factor, low, high, alone)
    return structure.unflatten(leaves)


def numbers_of(states: PyTree, name: str) -> dict[str, jax.Array]:
    """The numbers of a population that :func:`exploit_and_explore` varies by this name.

    Args:
        states: the stacked states, as there.
        name: the name of a hyperparameter, as there.

    Returns:
        The numbers by the name, or by their whole names where there are several.

    Raises:
        ValueError: there is none.
    """
    leaves, places = jax.tree.leaves(states), _places(states, name)
    if len(places) == 1:
        return {dotted(name): leaves[i] for i in places.values()}
    return {path: leaves[i] for path, i in places.items()}


def _places(states: PyTree, name: str) -> dict[str, int]:
    """The places of the leaves that a name stands for, by their own names."""
    # Of a train state the parameters may have leaves of the same names.
    prefix = "tx." if hasattr(states, "tx") else ""
    leaves, places = jax.tree_util.tree_leaves_with_path(states), {}
    for i, (keys, _) in enumerate(leaves):
        path = jax.tree_util.keystr(keys, simple=True, separator=".")
        if path.startswith(prefix):
            places[path.removeprefix(prefix)] = i
    chosen = {path: i for path, i in places.items() if stands_in(name, path)}
    if not chosen:
        near = nearest(dotted(name).replace(".", "/"), [path.replace(".", "/") for path in places])
        raise ValueError(
            f"exploit_and_explore: no hyperparameter has the name {name!r}; the nearest names"
            f" are {', '.join(map(dotted, near)) or 'none'}"
        )
    floating = {
        path: i for path, i in chosen.items() if jnp.issubdtype(leaves[i][1].dtype, jnp.floating)
    }
    if not floating:
        path, i = next(iter(chosen.items()))
        raise ValueError(
            f"exploit_and_explore: {path} has dtype {leaves[i][1].dtype}; only a floating-point"
            " number is varied by a factor"
        )
    return floating


def _multiplied(
    leaf: jax.Array, replaced: jax.Array, factor: jax.Array, low: float, high: float, alone: bool
) -> jax.Array:
    """A leaf with the numbers of the runs that were replaced multiplied.

    Args:
        leaf: the numbers, those of the copies already in place.
        replaced: which runs are copies.
        factor: the factor of each.
        low: the lowest value.
        high: the highest value.
        alone: whether the leaf itself is named; of a part a number outside of the range stays.
    """
    shape = (-1, *(1,) * (leaf.ndim - 1))
    moved = leaf * factor.astype(leaf.dtype).reshape(shape)
    ends = jnp.asarray([low, high], leaf.dtype)
    moves = replaced.reshape(shape)
    if not alone:
        moves &= (leaf >= ends[0]) & (leaf <= ends[1])
    return jnp.where(moves, jnp.clip(moved, ends[0], ends[1]), leaf)


def bounds_of(name: str, bounds: Any) -> tuple[float, float]:
    """The lowest and the highest value of a hyperparameter.

    Raises:
        ValueError: they are no such pair.
    """
    try:
        low, high = map(float, bounds)
    except (TypeError, ValueError):
        low, high = 1.0, 0.0
    if not low <= high:
        raise ValueError(
            f"exploit_and_explore: the range of {name!r} must be (low, high) with low <= high, got"
            f" {brief(bounds, 40)}"
        )
    return low, high


def _check_range(argument: str, value: Any, good: bool, allowed: str) -> None:
    if not good:
        raise ValueError(
            f"exploit_and_explore: {argument} must lie in {allowed}, got {brief(value, 40)}"
        )


def _check_runs(states: PyTree, scores: jax.Array) -> None:
    if scores.ndim != 1 or len(scores) < 2:
        raise ValueError(
            "exploit_and_explore: scores must have shape (runs,) with two runs at least, got"
            f" {scores.shape}"
        )
    for path, leaf in jax.tree_util.tree_leaves_with_path(states):
        shape = jnp.shape(leaf)
        if shape[:1] != scores.shape:
            raise ValueError(
                f"exploit_and_explore: {path_name(path)} has shape {shape}, but there are"
                f" {len(scores)} scores; stack the states of the runs along the first axis of every"
                " leaf"
            )
