"""Updates of the zoo with a gradient, a rate or an eps at the edge of what there is."""

from __future__ import annotations

import functools
from collections.abc import Iterable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from cases import Case, numbers
from laws import extra
from shares import in_share
from zoo import CASES

_rng = np.random.default_rng(3)
_START = [_rng.normal(size=shape).astype("float32") for shape in ((3, 2), (3,))]
_SLOPES = [_rng.normal(size=shape).astype("float32") for shape in ((3, 2), (3,))]


class Step(NamedTuple):
    """What one update did: the updates, and the state and the parameters after it."""

    updates: Any
    state: Any
    params: Any


@functools.partial(jax.jit, static_argnums=0)
def _step(case: Case, tx: Any, size: Any, state: Any, params: Any) -> Step:
    grads = [size * jnp.asarray(slope) for slope in _SLOPES]
    given = extra(case, jnp.ones(()), grad=grads)
    updates, state = tx.update(grads, state, params, **given)
    return Step(updates, state, optax.apply_updates(params, updates))


def steps(case: Case, settings: Iterable[tuple[Any, float]]) -> list[Step]:
    """One update after the other, each by a transform and with gradients of a size.

    The transforms differ in their numbers alone; one compiled program serves them all.
    """
    settings = list(settings)
    params = [jnp.asarray(leaf) for leaf in _START]
    done, state = [], settings[0][0].init(params)
    for tx, size in settings:
        done.append(_step(case, tx, jnp.float32(size), state, params))
        _, state, params = done[-1]
    return done


def floats(tree: Any) -> list[np.ndarray]:
    """The floating-point leaves."""
    leaves = map(np.asarray, jax.tree.leaves(tree))
    return [leaf for leaf in leaves if jnp.issubdtype(leaf.dtype, jnp.inexact)]


def is_finite(tree: Any) -> bool:
    return all(np.isfinite(leaf).all() for leaf in floats(tree))


def has_nan(tree: Any) -> bool:
    return any(np.isnan(leaf).any() for leaf in floats(tree))


def moved(params: Any, old: Any) -> bool:
    return any((a != b).any() for a, b in zip(floats(params), floats(old), strict=True))


def start() -> Any:
    return _START


def without_eps(tx: Any) -> Any:
    """The transform with every eps that may be 0 at 0."""
    for name in numbers(tx):
        if name.startswith("eps"):
            try:
                tx = tx.replace(**{name: 0.0})
            except ValueError:  # it must be above 0
                continue
    return tx


def cases(excused: dict[str, str], shift: int = 0) -> list[Any]:
    """The cases that are not excused, by id or name.

    ``make test`` runs one case of each of a third of the optimizers.

    Args:
        excused: reasons by id or name.
        shift: another third for another test.
    """
    seen, chosen = set(), []
    for case in CASES:
        again = case.name in seen or case.rate is not None or case.home.__name__ != "fnopt"
        again |= not in_share(case.name, 3, shift)
        seen.add(case.name)
        if case.id not in excused and case.name not in excused:
            marks = [pytest.mark.slow] if again else []
            chosen.append(pytest.param(case, id=case.id, marks=marks))
    return chosen


OF_ANOTHER_TREE = {
    "dpsgd": "its gradients are those of every example",
    "differentially_private_aggregate": "its gradients are those of every example",
    "scale_by_tree": "its factors are those of another tree",
    "Muon": "it is for matrices alone",
    "LBFGS": "it takes the gradients of value_fn itself",
}
