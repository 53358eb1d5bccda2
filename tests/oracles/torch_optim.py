"""torch's optimizers at random settings on a small problem: what is recorded, and compared.

``python tests/oracles/record_torch_optim.py`` records torch's trajectories in
``torch_optim.json``, beside this file, for machines without torch.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

RECORDED = Path(__file__).with_suffix(".json")
STEPS = 18
SEEN = (1, 2, 3, 6, 12, 18)
"""The steps after which parameters are recorded."""

_rng = np.random.default_rng(0)
SHAPES = {"matrix": (3, 4), "vector": (5,), "scalar": (), "kernel": (2, 3, 2)}
START = {name: _rng.normal(size=shape) for name, shape in SHAPES.items()}
_GOAL = {name: _rng.normal(size=shape) for name, shape in SHAPES.items()}


def names(optimizer: str) -> list[str]:
    """The parameters an optimizer is given: Muon takes matrices alone."""
    return ["matrix"] if optimizer == "Muon" else list(SHAPES)


def loss(params: Any, xp: Any) -> Any:
    """A loss without convexity that ties all parameters together; ``xp`` has log1p, sin and sum."""
    parts = [
        xp.sum(xp.log1p((p - xp.asarray(_GOAL[name])) ** 2) + 0.3 * xp.sin(2 * p))
        for name, p in params.items()
    ]
    total = sum(parts)
    return total + 0.1 * xp.sin(total)


def settings(rng: np.random.Generator) -> dict[str, list[dict[str, Any]]]:
    """Three random settings of every optimizer, by torch's arguments."""

    def number(low: float, high: float) -> float:
        return float(np.round(np.exp(rng.uniform(np.log(low), np.log(high))), 6))

    def flag() -> bool:
        return bool(rng.random() < 0.5)

    def betas() -> tuple[float, float]:
        return number(0.3, 0.95), number(0.5, 0.999)

    def common(low: float = 1e-2, high: float = 0.3) -> dict[str, Any]:
        return {"lr": number(low, high), "weight_decay": number(1e-3, 0.3), "maximize": flag()}

    def like_adam() -> dict[str, Any]:
        return {**common(), "betas": betas(), "eps": number(1e-8, 1e-1)}

    def sgd(i: int) -> dict[str, Any]:
        chosen = ({}, {"dampening": number(0.1, 0.9)}, {"nesterov": True})[i]
        return {**common(), "momentum": number(0.3, 0.95), **chosen}

    def rprop() -> dict[str, Any]:
        sizes = number(1e-4, 1e-2), number(0.1, 0.5)
        etas = number(0.3, 0.7), number(1.1, 1.5)
        return {"lr": number(0.01, 0.6), "etas": etas, "step_sizes": sizes, "maximize": flag()}

    makes = {
        "SGD": sgd,
        "ASGD": lambda i: {
            **common(),
            "lambd": number(1e-4, 0.3),
            "alpha": number(0.3, 1.0),
            "t0": (0.0, 4.0, 1e6)[i],
        },
        "Adam": lambda i: {**like_adam(), "amsgrad": i == 1, "decoupled_weight_decay": i == 2},
        "AdamW": lambda i: {**like_adam(), "amsgrad": i == 1},
        "Adamax": lambda i: like_adam(),
        "Adadelta": lambda i: {
            **common(0.3, 3),
            "rho": number(0.5, 0.99),
            "eps": number(1e-6, 0.1),
        },
        "Adafactor": lambda i: {
            **common(),
            "beta2_decay": -number(0.3, 0.9),
            "eps": (None if i == 0 else number(1e-6, 1e-1), number(1e-3, 1e-1)),
            "d": number(1.0, 2.0),
        },
        "Adagrad": lambda i: {
            **common(),
            "lr_decay": 0 if i == 0 else number(1e-3, 0.3),
            "initial_accumulator_value": 0 if i == 1 else number(1e-3, 0.3),
            "eps": number(1e-10, 1e-1),
        },
        "NAdam": lambda i: {
            **like_adam(),
            "momentum_decay": number(1e-3, 0.3),
            "decoupled_weight_decay": i == 2,
        },
        "RAdam": lambda i: {**like_adam(), "decoupled_weight_decay": i == 2},
        "RMSprop": lambda i: {
            **common(1e-3, 0.1),
            "alpha": number(0.5, 0.99),
            "eps": number(1e-6, 1e-1),
            "momentum": 0 if i == 0 else number(0.3, 0.95),
            "centered": i == 2,
        },
        "Rprop": lambda i: rprop(),
        "Muon": lambda i: {
            "lr": number(1e-2, 0.1),
            "weight_decay": number(1e-3, 0.3),
            "momentum": number(0.3, 0.95),
            "nesterov": i != 1,
            "ns_steps": int(rng.integers(2, 7)),
            "adjust_lr_fn": (None, "match_rms_adamw", "original")[i],
        },
    }
    return {name: [make(i) for i in range(3)] for name, make in makes.items()}


SETTINGS = settings(np.random.default_rng(1))


def recorded() -> dict[str, list[dict[str, Any]]]:
    """torch's parameters after the steps of ``SEEN``, by optimizer and setting."""
    return json.loads(RECORDED.read_text())


def by_torch(optimizer: str, given: dict[str, Any]) -> list[dict[str, np.ndarray]]:
    """torch's parameters after every step."""
    import torch

    params = {
        name: torch.tensor(START[name], dtype=torch.float64, requires_grad=True)
        for name in names(optimizer)
    }
    stepper = getattr(torch.optim, optimizer)(list(params.values()), **given)
    path = []
    for _ in range(STEPS):
        stepper.zero_grad()
        loss(params, torch).backward()
        stepper.step()
        path.append({name: p.detach().numpy().copy() for name, p in params.items()})
    return path
