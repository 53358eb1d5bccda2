"""Equal units stay equal: what starting with equal weights does, under every optimizer."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cases import Case
from laws import run
from problems import Problem
from zoo import CASES

UNITS = 4
_X = np.random.default_rng(0).normal(size=(6, 3)).astype(np.float32)
_Y = np.sin(2 * _X[:, 0]) + _X[:, 1]


def _start(first, second, last):
    return {
        "first": {"kernel": first, "bias": np.full(UNITS, 0.1)},
        "second": {"kernel": second, "bias": np.full(UNITS, -0.1)},
        "last": {"kernel": last, "bias": np.zeros(1)},
    }


def _loss(params):
    x, y = (jnp.asarray(data, params["last"]["bias"].dtype) for data in (_X, _Y))
    h = x
    for name in ("first", "second"):
        h = jnp.tanh(h @ params[name]["kernel"] + params[name]["bias"][None])
    residual = (h @ params["last"]["kernel"] + params["last"]["bias"][None])[:, 0] - y
    return jnp.mean(residual**2)


EQUAL = Problem(
    "equal",
    _start(np.full((3, UNITS), 0.3), np.full((UNITS, UNITS), 0.2), np.full((UNITS, 1), 0.3)),
    _loss,
)


def differences(params):
    """By how much the weights of one unit differ from another's: those into it and out of it."""
    first, second, last = (params[name]["kernel"] for name in ("first", "second", "last"))
    found = [
        np.ptp(first, 1), np.ptp(second, 0), np.ptp(second, 1), np.ptp(last, 0),
        np.ptp(params["first"]["bias"]), np.ptp(params["second"]["bias"]),
    ]
    return max(np.max(x) for x in found)

if __name__ == "__main__":
    import time, sys
    for case in CASES:
        t=time.time()
        try:
            tx=case.optimizer()
            start=jax.tree.map(lambda l: jnp.asarray(l, jnp.float32), EQUAL.start)
            values, path, _ = run(tx, start, case=case, problem=EQUAL, steps=100)
            path=jax.tree.map(np.asarray, path)
            end=jax.tree.map(lambda l:l[-1], path)
            moved=max(np.max(np.abs(a-b)) for a,b in zip(jax.tree.leaves(end),jax.tree.leaves(EQUAL.start)))
            print(f"{case.id:45s} diff {differences(end):.3g} moved {moved:.3g} loss {values[0]:.3g}->{values[-1]:.3g} {time.time()-t:.1f}s", flush=True)
        except Exception as e:
            print(f"{case.id:45s} ERROR {type(e).__name__} {str(e)[:150]} {time.time()-t:.1f}s", flush=True)
