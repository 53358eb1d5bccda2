"""Muon and its relatives, one matrix at a time in float64 NumPy, by singular values.

A method is given ``gradient`` (a function of a list of arrays), the first such list and its
hyperparameters by fnopt's names, and yields the list after every update. Arrays of two axes are
matrices of shape (inputs, outputs); the others get what a method is given for them.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

Arrays = list[np.ndarray]
Gradient = Callable[[Arrays], Arrays]

JORDAN = [(3.4445, -4.7750, 2.0315)] * 5
POLAR_EXPRESS = [
    (8.28721201814563, -23.595886519098837, 17.300387312530933),
    (4.107059111542203, -2.9478499167379106, 0.5448431082926601),
    (3.9486908534822946, -2.908902115962949, 0.5518191394370137),
    (3.3184196573706015, -2.488488024314874, 0.51004894012372),
    (2.300652019954817, -1.6689039845747493, 0.4188073119525673),
    (1.891301407787398, -1.2679958271945868, 0.37680408948524835),
    (1.8750014808534479, -1.2500016453999487, 0.3750001645474248),
    (1.875, -1.25, 0.375),
]
"""The list in Algorithm 1 of Amsel et al. 2025, without the safety factor."""


def safe(rows: Any, by: float = 1.01) -> Any:
    """p(x / 1.01) for all but the last row, and the norm of the first too times 1.01."""
    shrunk = [(a / by, b / by**3, c / by**5) for a, b, c in rows[:-1]] + [rows[-1]]
    a, b, c = shrunk[0]
    return [(a / by, b / by**3, c / by**5), *shrunk[1:]]


def table(coefficients: Any, steps: int) -> Any:
    """The rows of a name, or rows as they are."""
    if coefficients == "polar_express":
        return safe(POLAR_EXPRESS)[:steps]
    if isinstance(coefficients, str):
        return JORDAN[:1] * steps
    return [coefficients] * steps if np.ndim(coefficients) == 1 else coefficients[-steps:]


def at_values(s: np.ndarray, rows: Any) -> np.ndarray:
    """The composed polynomials at singular values."""
    for a, b, c in rows:
        s = a * s + b * s**3 + c * s**5
    return s


def orthogonalized(m: np.ndarray, rows: Any, eps: float, kind: str = "frobenius") -> np.ndarray:
    """The matrix with the composed polynomials at its singular values over a norm."""
    if m.shape[0] > m.shape[1]:
        return orthogonalized(m.T, rows, eps, kind).T
    if kind == "aol":
        m = m / np.sqrt(np.maximum(np.abs(m @ m.T).sum(axis=1), eps))[:, None]
    elif kind == "schatten":
        m = m / np.sqrt(max(np.linalg.norm(m @ m.T), eps))
    else:
        m = m / (np.linalg.norm(m, "fro" if kind == "frobenius" else 2) + eps)
    u, s, v = np.linalg.svd(m, full_matrices=False)
    return u @ np.diag(at_values(s, rows)) @ v


def scale_by_muon(
    gradient: Gradient,
    theta: Arrays,
    rate: float,
    *,
    others: Any = None,
    decay: float = 0.0,
    size: Callable[[int, int], float] = lambda m, n: 1.0,
    ns_coeffs: Any = "jordan",
    ns_steps: int = 5,
    beta: float = 0.95,
    eps: float = 1e-8,
    nesterov: bool = True,
    adaptive: bool = False,
    preconditioning: str = "frobenius",
    **unused: Any,
) -> Iterator[Arrays]:
    """Jordan et al. 2024, with optax's bias corrections; ``size`` is a factor by shape."""
    rows = table(ns_coeffs, ns_steps)

    def direction(g: np.ndarray, mean: Any, t: int) -> Any:
        mean = beta * (0 if mean is None else mean) + (1 - beta) * g
        ahead = mean / (1 - beta**t)
        if nesterov:
            ahead = beta * mean / (1 - beta ** (t + 1)) + (1 - beta) * g / (1 - beta**t)
        o = orthogonalized(ahead, rows, eps, preconditioning)
        return size(*g.shape) * (np.sum(ahead * o) * o if adaptive else o), mean

    return _by_matrix(gradient, theta, rate, direction, others, decay)


def size(consistent_rms: float | None) -> Callable[[int, int], float]:
    """Jordan et al. 2024, or Liu et al. 2025, Section 2.2: of a matrix of m outputs, n inputs."""
    if consistent_rms is None:
        return lambda m, n: np.sqrt(max(1, m / n))
    return lambda m, n: consistent_rms * np.sqrt(max(m, n))


def scale_by_shape(
    gradient: Gradient, theta: Arrays, rate: float, consistent_rms: float | None = None
) -> Iterator[Arrays]:
    """A step along the gradient times a factor by shape."""
    return _by_matrix(
        gradient, theta, rate, lambda g, *_: (size(consistent_rms)(*g.shape) * g, None), None, 0.0
    )


def muon(
    gradient: Gradient,
    theta: Arrays,
    *,
    learning_rate: float,
    weight_decay: float = 0.0,
    consistent_rms: float | None = None,
    adam_learning_rate: float | None = None,
    adam_b1: float = 0.9,
    adam_b2: float = 0.999,
    adam_eps_root: float = 0.0,
    adam_weight_decay: float = 0.0,
    eps: float = 1e-8,
    nesterov: bool = True,
    **kw: Any,
) -> Iterator[Arrays]:
    """Jordan et al. 2024 and Liu et al. 2025, Section 2.2, with AdamW for the other arrays."""

    others = adamw(
        adam_b1,
        adam_b2,
        eps,
        adam_eps_root,
        nesterov,
        learning_rate if adam_learning_rate is None else adam_learning_rate,
        adam_weight_decay,
    )
    return scale_by_muon(
        gradient,
        theta,
        learning_rate,
        others=others,
        decay=weight_decay,
        size=size(consistent_rms),
        eps=eps,
        nesterov=nesterov,
        **kw,
    )


def adamw(
    b1: float, b2: float, eps: float, eps_root: float, nesterov: bool, rate: float, decay: float
) -> Any:
    """Loshchilov & Hutter 2019, Algorithm 2, and Dozat 2016 for Nesterov's form."""

    def step(w: np.ndarray, g: np.ndarray, moments: Any, t: int) -> Any:
        m, v = (np.zeros_like(g), np.zeros_like(g)) if moments is None else moments
        m, v = b1 * m + (1 - b1) * g, b2 * v + (1 - b2) * g**2
        ahead = m / (1 - b1**t)
        if nesterov:
            ahead = b1 * m / (1 - b1 ** (t + 1)) + (1 - b1) * g / (1 - b1**t)
        return w - rate * (ahead / (np.sqrt(v / (1 - b2**t) + eps_root) + eps) + decay * w), (m, v)

    return step


def scale_by_normuon(
    gradient: Gradient,
    theta: Arrays,
    rate: float,
    *,
    others: Any = None,
    decay: float = 0.0,
    ns_coeffs: Any = "jordan",
    ns_steps: int = 5,
    b1: float = 0.95,
    b2: float = 0.95,
    eps: float = 1e-8,
    nesterov: bool = False,
    consistent_rms: float | None = 0.2,
    **unused: Any,
) -> Iterator[Arrays]:
    """Li et al. 2025, Algorithm 1, on W of shape (outputs, inputs); their program for None."""
    rows = table(ns_coeffs, ns_steps)

    def direction(g: np.ndarray, state: Any, t: int) -> Any:
        m, n = g.shape
        mean, v = (np.zeros_like(g), np.zeros(m)) if state is None else state
        mean = b1 * mean + (1 - b1) * g  # line 4
        o = orthogonalized(b1 * mean + (1 - b1) * g if nesterov else mean, rows, eps)
        v = b2 * v + (1 - b2) * np.mean(o * o, axis=1)
        hat = o / (np.sqrt(v)[:, None] + eps)
        if consistent_rms is None:
            size = np.linalg.norm(o) * np.sqrt(max(1, m / n))
        else:
            size = consistent_rms * np.sqrt(m * n)
        return size * hat / np.linalg.norm(hat), (mean, v)

    return _by_matrix(gradient, theta, rate, direction, others, decay)


def scale_by_adamuon(
    gradient: Gradient,
    theta: Arrays,
    rate: float,
    *,
    others: Any = None,
    decay: float = 0.0,
    ns_coeffs: Any = "jordan",
    ns_steps: int = 5,
    beta: float = 0.95,
    eps: float = 1e-8,
    consistent_rms: float = 0.2,
    **unused: Any,
) -> Iterator[Arrays]:
    """Si et al. 2025, version 3, Algorithm 1."""
    rows = table(ns_coeffs, ns_steps)

    def direction(g: np.ndarray, state: Any, t: int) -> Any:
        mean, v = (np.zeros_like(g), np.zeros_like(g)) if state is None else state
        mean = beta * mean + g
        o = orthogonalized(np.sign(mean), rows, eps)
        v = beta * v + (1 - beta) * o * o
        hat = o / (np.sqrt(v) + eps)
        return consistent_rms * np.sqrt(g.size) * hat / np.linalg.norm(hat), (mean, v)

    return _by_matrix(gradient, theta, rate, direction, others, decay)


def _by_matrix(
    gradient: Gradient, theta: Arrays, rate: float, direction: Any, others: Any, decay: float
) -> Iterator[Arrays]:
    """Steps along ``direction`` of W = leaf.T, and along ``others`` of the other gradients."""
    state: Any = [None] * len(theta)
    for t in itertools.count(1):
        moved = []
        for i, (w, g) in enumerate(zip(theta, gradient(theta), strict=True)):
            if w.ndim == 2:
                u, state[i] = direction(g.T, state[i], t)
                moved.append(w - rate * (u.T + decay * w))
            elif others is None:
                moved.append(w - rate * g)
            else:
                w, state[i] = others(w, g, state[i], t)
                moved.append(w)
        theta = moved
        yield theta


def optimizer(part: Callable[..., Any]) -> Callable[..., Any]:
    """The optimizer of a part: its decay, and AdamW with its usual numbers for the others."""

    def steps(
        gradient: Gradient,
        theta: Arrays,
        *,
        learning_rate: float,
        weight_decay: float = 0.0,
        **kw: Any,
    ) -> Iterator[Arrays]:
        others = adamw(0.9, 0.999, 1e-8, 0.0, False, learning_rate, 1e-4)
        return part(gradient, theta, learning_rate, others=others, decay=weight_decay, **kw)

    return steps
