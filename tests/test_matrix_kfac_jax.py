"""K-FAC beside kfac-jax, whose directions ``oracles/record_kfac.py`` records."""

# pyright: reportOptionalCall=false

from __future__ import annotations

import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import fnopt
from fnopt.core import Evaluation

RECORDED = json.loads(Path(__file__).with_name("oracles").joinpath("kfac.json").read_text())


QUICK = {("dense", "softmax", "cholesky"), ("strided", "squares", "eigh")}
SETTINGS = [
    pytest.param(
        case,
        solver,
        id=f"{case['kind']}-{case['loss']}-{solver}",
        marks=[] if (case["kind"], case["loss"], solver) in QUICK else [pytest.mark.slow],
    )
    for case in RECORDED["cases"]
    for solver in ("cholesky", "eigh")
]


@pytest.mark.parametrize("case, solver", SETTINGS)
def test_directions_are_those_of_kfac_jax(case, solver):
    with jax.enable_x64(True), jax.numpy_rank_promotion("allow"):
        params, inputs, labels, theirs = (
            jax.tree.map(jnp.asarray, case[name], is_leaf=lambda x: isinstance(x, list))
            for name in ("params", "inputs", "labels", solver)
        )
        targets = jax.nn.one_hot(labels, 3)
        losses = {
            "squares": lambda z: jnp.mean(jnp.sum((z - targets) ** 2, axis=1)) / 2,
            "softmax": lambda z: jnp.mean(optax.softmax_cross_entropy(z, targets)),
        }
        evaluation = Evaluation.of_outputs(
            lambda p: apply(case["kind"], p, inputs), losses[case["loss"]]
        )
        damping, grads = RECORDED["damping"], evaluation.grad
        assert grads is not None
        tx = fnopt.scale_by_kfac(damping=damping, solver=solver, fisher="exact", decay=0.0)
        update = jax.jit(lambda p: tx.update(grads(p), tx.init(p), p, evaluation=evaluation)[0])
        got = update(params)
        for ours, other in zip(jax.tree.leaves(got), jax.tree.leaves(theirs), strict=True):
            np.testing.assert_allclose(ours, other, rtol=1e-6, atol=1e-9)


def apply(kind, params, x):
    """The network of ``oracles/record_kfac.py``."""
    if "conv" in params:
        own, last = params["conv"], params["last"]
        strides = (2, 2) if kind == "strided" else (1, 1)
        padding = "VALID" if kind == "valid" else "SAME"
        numbers = ("NHWC", "HWIO", "NHWC")
        x = jax.lax.conv_general_dilated(
            x, own["kernel"], strides, padding, dimension_numbers=numbers
        )
        x = jnp.mean(jnp.tanh(x + own["bias"]), axis=(1, 2))
    else:
        x, last = x @ params["first"]["w"], params["last"]
        x = jnp.tanh(x + params["first"]["b"] if "b" in last else x)
    x = x @ last["w"]
    return x + last["b"] if "b" in last else x
