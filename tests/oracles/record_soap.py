"""Records trajectories of pytorch_optimizer's SOAP in soap.json; run by hand, with torch installed.

python tests/oracles/record_soap.py, with pytorch_optimizer 4.1.0 on the path. It follows the
authors' program, github.com/nikhilvyas/SOAP, but for QR in single precision.
"""

from __future__ import annotations

import json
import pathlib
from typing import Any

import numpy as np
import torch
from pytorch_optimizer import SOAP

SETTINGS: dict[str, dict[str, Any]] = {
    "default": {},
    "fresh": {"precondition_frequency": 1},
    "momentum": {"betas": (0.9, 0.99), "shampoo_beta": 0.8, "precondition_frequency": 3},
    "eps": {"eps": 1e-2, "precondition_frequency": 2},
    "normalized": {"normalize_gradient": True, "precondition_frequency": 2},
    "one_sided": {"max_precondition_dim": 4, "precondition_frequency": 3},
}
SHAPE, STEPS, RATE = (5, 4), 25, 0.01


def gradients() -> np.ndarray:
    """The gradients of all steps, of which some directions are much larger than others."""
    rng = np.random.default_rng(0)
    scales = np.geomspace(1.0, 0.05, SHAPE[0])[:, None] * np.geomspace(1.0, 0.1, SHAPE[1])
    return (scales * (rng.normal(size=SHAPE) + rng.normal(size=(STEPS, *SHAPE)))).round(6)


def record(setting: dict[str, Any]) -> list[Any]:
    """The weights after every fifth step."""
    weights = torch.zeros(SHAPE, dtype=torch.float64, requires_grad=True)
    optimizer = SOAP([weights], lr=RATE, weight_decay=0.0, **setting)
    path = []
    for t, gradient in enumerate(gradients(), 1):
        weights.grad = torch.from_numpy(gradient.copy())
        optimizer.step()
        if t % 5 == 0:
            path.append(weights.detach().numpy().round(9).tolist())
    return path


if __name__ == "__main__":
    found = {name: record(setting) for name, setting in SETTINGS.items()}
    target = pathlib.Path(__file__).with_name("soap.json")
    target.write_text(json.dumps({"gradients": gradients().tolist(), **found}) + "\n")
