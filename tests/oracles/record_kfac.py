"""Records what kfac-jax computes for small networks: ``python record_kfac.py`` writes kfac.json.

It is run where kfac-jax (here 0.0.8, with jax 0.6.2) is installed; the tests read the file.
"""

from __future__ import annotations

import json
from pathlib import Path

import jax
import jax.numpy as jnp
import kfac_jax
import numpy as np
import optax

jax.config.update("jax_enable_x64", True)
EXAMPLES, DAMPING = 6, 0.3
CONVOLUTIONS = {"valid": ("VALID", (1, 1)), "same": ("SAME", (1, 1)), "strided": ("SAME", (2, 2))}


def start(kind, rng):
    """The parameters and the inputs of a network."""
    dense = {"w": rng.normal(size=(4, 3)), "b": rng.normal(size=3)}
    if kind in CONVOLUTIONS:
        first = {"kernel": rng.normal(size=(3, 2, 2, 4)), "bias": rng.normal(size=4)}
        return {"conv": first, "last": dense}, rng.normal(size=(EXAMPLES, 4, 5, 2))
    first = {"w": rng.normal(size=(2, 4)), "b": rng.normal(size=4)}
    if kind == "no biases":
        del first["b"], dense["b"]
    return {"first": first, "last": dense}, rng.normal(size=(EXAMPLES, 2))


def apply(kind, params, x):
    """The outputs of a network, with tanh units."""
    if kind in CONVOLUTIONS:
        padding, strides = CONVOLUTIONS[kind]
        own = params["conv"]
        numbers = ("NHWC", "HWIO", "NHWC")
        x = jax.lax.conv_general_dilated(
            x, own["kernel"], strides, padding, dimension_numbers=numbers
        )
        x = jnp.mean(jnp.tanh(x + own["bias"]), axis=(1, 2))
    else:
        x = jnp.tanh(x @ params["first"]["w"] + params["first"].get("b", np.zeros(4)))
    return x @ params["last"]["w"] + params["last"].get("b", np.zeros(3))


def main():
    recorded = []
    for kind in ("dense", "no biases", *CONVOLUTIONS):
        for loss in ("squares", "softmax"):
            rng = np.random.default_rng(len(recorded))
            params, x = start(kind, rng)
            labels = rng.integers(3, size=EXAMPLES)
            targets = np.eye(3)[labels]

            def of_batch(params, batch, kind=kind, loss=loss, targets=targets, labels=labels):
                outputs = apply(kind, params, batch)
                if loss == "squares":
                    kfac_jax.register_squared_error_loss(outputs, targets, weight=0.5)
                    return 0.5 * jnp.sum((outputs - targets) ** 2) / EXAMPLES
                kfac_jax.register_softmax_cross_entropy_loss(outputs, labels)
                losses = optax.softmax_cross_entropy_with_integer_labels(outputs, labels)
                return jnp.mean(losses)

            params = jax.tree.map(jnp.asarray, params)
            estimator = kfac_jax.BlockDiagonalCurvature(
                of_batch, default_estimation_mode="fisher_exact"
            )
            arguments, key = (params, jnp.asarray(x)), jax.random.PRNGKey(0)
            state = estimator.init(key, arguments, None, None)
            state = estimator.update_curvature_matrix_estimate(
                state, 0.0, 1.0, 0.0, EXAMPLES, key, arguments
            )
            grads = jax.grad(of_batch)(*arguments)
            factored, exact = (
                estimator.multiply_inverse(state, grads, DAMPING, exact_power, False)
                for exact_power in (False, True)
            )
            blocks = zip(estimator.blocks, state.blocks_states, strict=True)
            names = sorted(type(block).__name__ for block, _ in blocks)
            row = {
                "kind": kind,
                "loss": loss,
                "params": jax.tree.map(np.asarray, params),
                "inputs": x,
                "labels": labels,
                "blocks": names,
                "cholesky": factored,
                "eigh": exact,
            }
            recorded.append(jax.tree.map(lambda y: y if isinstance(y, str) else y.tolist(), row))
            print(kind, loss, names)
    text = json.dumps({"damping": DAMPING, "cases": recorded})
    Path(__file__).with_name("kfac.json").write_text(text + "\n")


if __name__ == "__main__":
    main()
