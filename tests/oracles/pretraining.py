"""Layers trained without labels, transcribed from their papers into float64 NumPy.

Weights are W (inputs, units), c of the units, b of the inputs. Draws are handed in.
"""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np


def sigmoid(x: Any) -> Any:
    return 1 / (1 + np.exp(-x))


def denoising_loss(
    weights: dict[str, Any], corrupted: Any, inputs: Any, activation: Any, binary: bool
) -> float:
    """Vincent et al. 2008, eqs. 2 to 5, summed over inputs and averaged over examples."""
    total = 0.0
    for seen, x in zip(corrupted, inputs, strict=True):
        y = activation(weights["kernel"].T @ seen + weights["bias"])
        decoder = weights.get("decoder", weights["kernel"].T)
        z = decoder.T @ y + weights["visible_bias"]
        if binary:
            z = sigmoid(z)
            total -= sum(x * np.log(z) + (1 - x) * np.log(1 - z))
        else:
            total += sum((x - z) ** 2)
    return total / len(inputs)


def finite_difference(function: Any, weights: dict[str, Any], step: float = 1e-6) -> dict[str, Any]:
    """The gradient of a function of weights, by central differences."""
    gradient = {name: np.zeros_like(w) for name, w in weights.items()}
    for name, w in weights.items():
        for place in np.ndindex(w.shape):
            ends = []
            for sign in (1, -1):
                moved = {key: value.copy() for key, value in weights.items()}
                moved[name][place] += sign * step
                ends.append(function(moved))
            gradient[name][place] = (ends[0] - ends[1]) / (2 * step)
    return gradient


def contrastive_divergence(
    weights: dict[str, Any], inputs: Any, draws: Any, binary: bool, sample_visible: bool
) -> tuple[float, dict[str, Any]]:
    """Hinton 2002 and 2010, Section 3: the reconstruction error, and minus the change CD-k wants.

    ``draws`` are k pairs, for hidden and visible units: uniform, but normal for Gaussian inputs.
    """
    W, c, b = weights["kernel"], weights["bias"], weights["visible_bias"]
    k, n = len(draws), len(inputs)
    change = {name: np.zeros_like(w) for name, w in weights.items()}
    error = 0.0
    for i, v0 in enumerate(inputs):
        v = v0
        for t in range(k):
            h = (draws[t][0][i] < sigmoid(c + v @ W)).astype(float)
            mean = b + W @ h
            mean = sigmoid(mean) if binary else mean
            if t == 0:
                error += sum((v0 - mean) ** 2) / n
            v = mean
            if sample_visible:
                v = (draws[t][1][i] < mean).astype(float) if binary else mean + draws[t][1][i]
        p0, pk = sigmoid(c + v0 @ W), sigmoid(c + v @ W)
        change["kernel"] += (np.outer(v0, p0) - np.outer(v, pk)) / n
        change["bias"] += (p0 - pk) / n
        change["visible_bias"] += (v0 - v) / n
    return error, {name: -x for name, x in change.items()}


def _joint(weights: dict[str, Any]) -> list[tuple[Any, Any, float]]:
    """Every state of the visible and the hidden units and its exp(-E)."""
    W, c, b = weights["kernel"], weights["bias"], weights["visible_bias"]
    states = []
    for v in map(np.array, itertools.product((0.0, 1.0), repeat=len(b))):
        for h in map(np.array, itertools.product((0.0, 1.0), repeat=len(c))):
            states.append((v, h, np.exp(b @ v + c @ h + v @ W @ h)))
    return states


def log_likelihood(weights: dict[str, Any], inputs: Any) -> float:
    """The mean of log p(v), by the sum over all states."""
    states = _joint(weights)
    z = sum(p for *_, p in states)
    of = [sum(p for v, _, p in states if np.array_equal(v, x)) / z for x in inputs]
    return float(np.mean(np.log(of)))


def likelihood_gradient(weights: dict[str, Any], inputs: Any) -> dict[str, Any]:
    """The gradient of minus that: Hinton 2002, eq. 3's two expectations, both exact."""
    states = _joint(weights)

    def expectation(kept: Any) -> dict[str, Any]:
        kept = [state for state in states if kept(state[0])]
        z = sum(p for *_, p in kept)
        return {
            "kernel": sum(p / z * np.outer(v, h) for v, h, p in kept),
            "bias": sum(p / z * h for _, h, p in kept),
            "visible_bias": sum(p / z * v for v, _, p in kept),
        }

    model = expectation(lambda v: True)
    data = [expectation(lambda v, x=x: np.array_equal(v, x)) for x in inputs]
    return {name: model[name] - np.mean([d[name] for d in data], axis=0) for name in model}
