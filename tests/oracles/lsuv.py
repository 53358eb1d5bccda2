"""Layer-sequential unit variance in float64 NumPy, from Mishkin & Matas, arXiv:1511.06422."""

from __future__ import annotations

import numpy as np


def lsuv(weights, inputs, nonlinearity, tol_var, t_max):
    """Algorithm 1 after the orthonormal start: weights of dense layers without biases, scaled."""
    weights = [np.array(w, np.float64) for w in weights]
    for layer in range(len(weights)):
        for _ in range(t_max):
            blob = np.asarray(inputs, np.float64)
            for w in weights[:layer]:
                blob = nonlinearity(blob @ w)
            variance = (blob @ weights[layer]).var()
            if abs(variance - 1.0) < tol_var:
                break
            weights[layer] = weights[layer] / np.sqrt(variance)
    return weights
