"""SOAP and its relatives, written out in float64 NumPy; see first_order.py for what an oracle is.

They are written as the authors' programs are: the mean stays in the original space, columns are
sorted and the mean square is permuted with them. A leaf of two axes is inputs x outputs; others get
AdamW, or, after a part, the gradient.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

Leaves = list[np.ndarray]


def soap(
    gradient: Callable[[Any], Leaves],
    theta: Leaves,
    *,
    learning_rate: Any,
    weight_decay: float = 0.01,
    **given: Any,
) -> Iterator[Leaves]:
    """Vyas et al. 2024, Algorithms 3 and 4, as in the authors' soap.py."""
    return _optimizer(Soap, gradient, theta, learning_rate, weight_decay, adamw, given)


def kl_soap(
    gradient: Callable[[Any], Leaves],
    theta: Leaves,
    *,
    learning_rate: Any,
    weight_decay: float = 0.01,
    **given: Any,
) -> Iterator[Leaves]:
    """Lin et al. 2025, as in the authors' kl_opt.py."""
    return _optimizer(KLSoap, gradient, theta, learning_rate, weight_decay, adamw, given)


def part(method: Any) -> Callable[..., Iterator[Leaves]]:
    """The oracle of a direction, which leaves what is no matrix as it is."""

    def followed(gradient: Any, theta: Leaves, rate: float, **given: Any) -> Iterator[Leaves]:
        return _optimizer(method, gradient, theta, rate, 0.0, lambda g, w, state, t: g, given)

    return followed


def _optimizer(
    method: Any,
    gradient: Any,
    theta: Leaves,
    learning_rate: Any,
    weight_decay: float,
    other: Any,
    given: dict[str, Any],
) -> Iterator[Leaves]:
    methods = [method(w.T.shape, **given) if w.ndim == 2 else None for w in theta]
    states: list[dict[str, Any]] = [{} for _ in theta]
    for t in itertools.count(1):
        rate = learning_rate(t - 1) if callable(learning_rate) else learning_rate
        moved = []
        for w, g, own, state in zip(theta, gradient(theta), methods, states, strict=True):
            if own is None:
                moved.append(w - rate * other(g, w, state, t))
            else:
                moved.append(w - rate * (own.direction(g.T, t).T + weight_decay * w))
        theta = moved
        yield theta


def adamw(g: np.ndarray, w: np.ndarray, state: dict[str, Any], t: int) -> np.ndarray:
    """The direction of AdamW with its usual constants."""
    m = state["m"] = 0.9 * state.get("m", 0.0) + 0.1 * g
    v = state["v"] = 0.999 * state.get("v", 0.0) + 0.001 * g**2
    return (m / (1 - 0.9**t)) / (np.sqrt(v / (1 - 0.999**t)) + 1e-8) + 1e-4 * w


class Soap:
    """The direction of one matrix."""

    def __init__(
        self,
        shape: tuple[int, int],
        b1: float = 0.95,
        b2: float = 0.95,
        shampoo_beta: float | None = None,
        eps: float = 1e-8,
        precondition_frequency: int = 10,
        max_precond_dim: int = 10000,
        normalize_grads: bool = False,
        staggered: bool = True,
    ) -> None:
        self.b1, self.b2, self.eps = b1, b2, eps
        self.beta = b2 if shampoo_beta is None else shampoo_beta
        self.every, self.normalize_grads = precondition_frequency, normalize_grads
        self.sides = [i for i in (0, 1) if shape[i] <= max_precond_dim]
        # Turns of the two sides, of which each has one matrix.
        self.turns = {side: k if staggered else 0 for k, side in enumerate(self.sides)}
        self.statistics = {side: np.zeros((shape[side],) * 2) for side in self.sides}
        self.bases = {0: np.eye(shape[0]), 1: np.eye(shape[1])}
        self.m, self.v = np.zeros(shape), np.zeros(shape)

    def direction(self, g: np.ndarray, t: int) -> np.ndarray:
        """The direction of update t, the first being 1."""
        if t == 1:
            self.learn(g, t)
            for side in self.sides:
                self.bases[side] = np.linalg.eigh(self.statistics[side])[1][:, ::-1]
            return np.zeros_like(g)
        left, right = self.bases[0], self.bases[1]
        rotated = left.T @ g @ right
        self.m = self.b1 * self.m + (1 - self.b1) * g
        self.v = self.b2 * self.v + (1 - self.b2) * rotated**2
        n = left @ ((left.T @ self.m @ right) / (np.sqrt(self.v) + self.eps)) @ right.T
        if self.normalize_grads:
            n = n / np.sqrt(np.mean(n**2))
        n = n * self.correction(t - 1)
        self.learn(g, t)
        for side in self.sides:
            if (t - 1 - self.turns[side]) % self.every == 0:
                self.refresh(side)
        return n

    def correction(self, step: int) -> float:
        return np.sqrt(1 - self.b2**step) / (1 - self.b1**step)

    def learn(self, g: np.ndarray, t: int) -> None:
        for side in self.sides:
            outer = g @ g.T if side == 0 else g.T @ g
            self.statistics[side] = self.beta * self.statistics[side] + (1 - self.beta) * outer

    def refresh(self, side: int) -> None:
        p, q = self.statistics[side], self.bases[side]
        order = np.argsort(-np.diag(q.T @ p @ q))
        self.v = self.v.take(order, axis=side)
        self.bases[side] = np.linalg.qr(p @ q[:, order])[0]


class KLSoap(Soap):
    """The direction of one matrix."""

    def __init__(
        self,
        shape: tuple[int, int],
        b1: float = 0.9,
        b2: float = 0.98,
        init_factor: float = 0.1,
        **given: Any,
    ) -> None:
        super().__init__(shape, b1, b2, **given)
        self.values = {0: np.ones(shape[0]), 1: np.ones(shape[1])}
        self.init_factor = init_factor

    def correction(self, step: int) -> float:
        return 1.0

    def learn(self, g: np.ndarray, t: int) -> None:
        (left, right), (rows, columns) = self.bases.values(), self.values.values()
        m, n = g.shape
        inner = left @ np.diag(1 / rows) @ left.T, right @ np.diag(1 / columns) @ right.T
        outer = {0: g @ inner[1] @ g.T / n, 1: g.T @ inner[0] @ g / m}
        squares = (left.T @ g @ right) ** 2
        news = {0: (squares / columns).mean(axis=1), 1: (squares / rows[:, None]).mean(axis=0)}
        for side in self.sides:
            old = self.statistics[side]
            self.statistics[side] = self.beta * old + (1 - self.beta) * outer[side]
            value = self.beta * self.values[side] + (1 - self.beta) * news[side]
            least = max(10, min(len(value), 4000)) ** -2
            first = np.full_like(value, self.init_factor)
            self.values[side] = first if t == 1 else np.maximum(value, least)

    def refresh(self, side: int) -> None:
        self.bases[side] = np.linalg.qr(self.statistics[side] @ self.bases[side])[0]


class SoapMuon(Soap):
    """SOAP's direction, orthogonalized."""

    def direction(self, g: np.ndarray, t: int) -> np.ndarray:
        """The direction of update t, the first being 1."""
        return orthogonalized(super().direction(g, t))


class Orthogonal:
    """A gradient, orthogonalized."""

    def __init__(self, shape: tuple[int, int], **given: Any) -> None:
        self.given = given

    def direction(self, g: np.ndarray, t: int) -> np.ndarray:
        """The direction; the same at all updates."""
        return orthogonalized(g, **self.given)


def orthogonalized(
    g: np.ndarray,
    ns_coeffs: tuple[float, float, float] = (3.4445, -4.7750, 2.0315),
    ns_steps: int = 5,
    eps: float = 1e-8,
) -> np.ndarray:
    """Jordan et al. 2024: steps of a polynomial, here on the singular values alone."""
    u, s, vt = np.linalg.svd(g, full_matrices=False)
    s = s / (np.linalg.norm(g) + eps)
    a, b, c = ns_coeffs
    for _ in range(ns_steps):
        s = a * s + b * s**3 + c * s**5
    return (u * s) @ vt


scale_by_soap, scale_by_kl_soap, scale_by_orthogonalization = map(part, (Soap, KLSoap, Orthogonal))
