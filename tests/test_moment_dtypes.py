"""The dtypes that moments are stored in, and leaves that are Python floats."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from extremes import OF_ANOTHER_TREE, cases, has_nan
from laws import extra

import fnopt

_GIVEN = {"learning_rate": 0.1, "peak_value": 0.1}
_WITH_MU = [
    name
    for name, kind in vars(fnopt).items()
    if isinstance(kind, type) and "mu_dtype" in getattr(kind, "__dataclass_fields__", {})
]
ONE_MOMENT = {
    "lion": "it has no second moment",
    "scale_by_lion": "it has no second moment",
    **dict.fromkeys(
        ("muon", "scale_by_muon", "dion2", "scale_by_dion2", "scion", "scale_by_scion"),
        "it has no second moment of its own",
    ),
    **dict.fromkeys(
        (f"{part}{name}" for part in ("", "scale_by_") for name in ("normuon", "adamuon", "muown")),
        "its second moment is of directions, and in float32 at least",
    ),
    "psgd_kron": "its preconditioner is no second moment; it has precond_dtype",
    "scale_by_psgd_kron": "its preconditioner is no second moment; it has precond_dtype",
}


@pytest.mark.parametrize("name", [name for name in _WITH_MU if name not in ONE_MOMENT])
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_the_second_moment_has_the_dtype_that_is_said(name):
    make = getattr(fnopt, name)
    given = {key: value for key, value in _GIVEN.items() if key in make._fields}
    params = {"w": jnp.linspace(0.5, 1.0, 6).reshape(2, 3), "b": jnp.ones(3)}
    plain, narrow = make(**given), make(**given, nu_dtype=jnp.bfloat16)
    states = [tx.init(params) for tx in (plain, narrow)]
    for _ in range(2):
        updates = []
        for i, tx in enumerate((plain, narrow)):
            grads = jax.tree.map(lambda x: 0.5 * x, params)
            loss = lambda x: sum(jnp.sum(leaf**2) for leaf in jax.tree.leaves(x))  # noqa: E731
            step, states[i] = tx.update(grads, states[i], params, value_fn=loss)
            updates.append(step)
        for a, b in zip(*map(jax.tree.leaves, updates), strict=True):
            np.testing.assert_allclose(a, b, rtol=0.02)
    wide, half = map(_dtypes, states)
    moments = [new for old, new in zip(wide, half, strict=True) if new != old]
    assert moments and set(moments) == {"bfloat16"}
    assert half == _dtypes(narrow.init(params))


def _dtypes(state):
    return [str(leaf.dtype) for leaf in jax.tree.leaves(state)]


def test_the_second_moment_has_an_argument_wherever_the_first_has():
    for name in _WITH_MU:
        assert ("nu_dtype" in getattr(fnopt, name)._fields) != (name in ONE_MOMENT), name


@pytest.mark.parametrize("case", cases(OF_ANOTHER_TREE, 1))
def test_leaves_may_be_python_floats(case):
    tx, params = case.make(), {"a": 0.5, "b": -1.0}
    given = extra(case, 1.0, grad=params)
    arrays = jax.tree.map(jnp.asarray, params)
    state, of_arrays = tx.init(params), tx.init(arrays)
    for _ in range(2):
        updates, state = tx.update(params, state, params, **given)
        expected, of_arrays = tx.update(arrays, of_arrays, arrays, **given)
        assert not has_nan(updates)
        for a, b in zip(jax.tree.leaves(updates), jax.tree.leaves(expected), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-6)
