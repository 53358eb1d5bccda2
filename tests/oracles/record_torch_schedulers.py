"""Records what torch's schedulers make of a rate at settings drawn at random.

``python tests/oracles/record_torch_schedulers.py`` writes torch_schedulers.json beside itself. The
settings and what is needed to read them are imported by the tests, without torch.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np

RATE, UPDATES, SEED = 0.3, 60, 20
FILE = Path(__file__).with_name("torch_schedulers.json")

Setting = dict[str, Any]


def wave(epoch):
    """No function that JAX can trace; none of them is 1 at the beginning."""
    return 0.6 + 0.4 * math.cos(0.3 * epoch + 1)


def halves(epoch):
    return 0.5 if epoch % 9 == 8 else 1.01


def inverse(epoch):
    """One that it can."""
    return 1 / (0.8 + 0.1 * epoch)


FUNCTIONS = {function.__name__: function for function in (wave, halves, inverse)}
TRACED = ("inverse",)


def drawn(name: str, rng: np.random.Generator) -> Setting:
    """A setting: the class, its arguments, and for containers its members."""

    def number(low: float, high: float) -> float:
        return round(float(rng.uniform(low, high)), 4)

    def whole(low: int, high: int) -> int:
        return int(rng.integers(low, high))

    def some(*choices: Any) -> Any:
        return choices[rng.integers(len(choices))]

    def members(*names: str) -> list[Setting]:
        return [drawn(one, rng) for one in names]

    arguments: dict[str, Any] = {
        "StepLR": lambda: {"step_size": whole(1, 20), "gamma": number(0.3, 1)},
        "MultiStepLR": lambda: {
            "milestones": [whole(0, 50) for _ in range(4)],
            "gamma": number(0.3, 1),
        },
        "ConstantLR": lambda: {"factor": number(0.1, 1), "total_iters": whole(1, 30)},
        "LinearLR": lambda: {
            "start_factor": number(0.1, 1),
            "end_factor": number(0.1, 1),
            "total_iters": whole(1, 50),
        },
        "ExponentialLR": lambda: {"gamma": number(0.85, 1)},
        "PolynomialLR": lambda: {"total_iters": whole(5, 50), "power": number(0.5, 3)},
        "CosineAnnealingLR": lambda: {"T_max": whole(3, 40), "eta_min": number(0, 0.1)},
        "CosineAnnealingWarmRestarts": lambda: {
            "T_0": whole(2, 15),
            "T_mult": whole(1, 4),
            "eta_min": number(0, 0.1),
        },
        "CyclicLR": lambda: (
            {
                "base_lr": number(0.01, 0.1),
                "max_lr": number(0.2, 0.5),
                "step_size_up": whole(2, 15),
                "step_size_down": some(None, whole(2, 15)),
                "gamma": number(0.9, 1),
                "base_momentum": number(0.7, 0.85),
                "max_momentum": number(0.86, 0.99),
            }
            | some(
                {"mode": "triangular"},
                {"mode": "triangular2"},
                {"mode": "exp_range"},
                {"scale_fn": "inverse"},
                {"scale_fn": "wave", "scale_mode": "iterations"},
            )
        ),
        "OneCycleLR": lambda: (
            {
                "max_lr": number(0.2, 0.8),
                "pct_start": number(0.1, 0.45),
                "anneal_strategy": some("cos", "linear"),
                "base_momentum": number(0.7, 0.85),
                "max_momentum": number(0.86, 0.99),
                "div_factor": number(2, 30),
                "final_div_factor": number(2, 1e3),
                "three_phase": some(False, True),
            }
            | some({"total_steps": UPDATES}, {"epochs": 6, "steps_per_epoch": 10})
        ),
        "LambdaLR": lambda: {"lr_lambda": some(*FUNCTIONS)},
        "MultiplicativeLR": lambda: {"lr_lambda": some(*FUNCTIONS)},
        "SequentialLR": lambda: {
            "schedulers": some(
                lambda: members("LinearLR", "CosineAnnealingLR", "MultiplicativeLR"),
                lambda: members("ConstantLR", "CyclicLR", "MultiStepLR"),
                lambda: members("PolynomialLR", "ExponentialLR", "CosineAnnealingWarmRestarts"),
                lambda: members("StepLR", "LambdaLR", "LinearLR"),
            )(),
            "milestones": sorted(whole(1, 50) for _ in range(2)),
        },
        "ChainedScheduler": lambda: {"schedulers": members("LinearLR", "StepLR", "ExponentialLR")},
        "ReduceLROnPlateau": lambda: {
            "mode": some("min", "max"),
            "factor": number(0.2, 0.9),
            "patience": whole(0, 4),
            "threshold": number(0, 0.1),
            "threshold_mode": some("rel", "abs"),
            "cooldown": whole(0, 4),
            "min_lr": some(0.0, 0.05),
            "eps": some(1e-8, 0.01),
        },
        # By names of their own, what is nested and what torch does in odd cases.
        "nested SequentialLR": lambda: {
            "schedulers": members("SequentialLR", "ExponentialLR"),
            "milestones": [whole(20, 50)],
        },
        "SequentialLR of a chain": lambda: {
            "schedulers": members(some("nested ChainedScheduler", "any chain"), "StepLR"),
            "milestones": [whole(20, 50)],
        },
        "SequentialLR after MultiplicativeLR": lambda: {
            "schedulers": members("LinearLR", "MultiplicativeLR", "MultiplicativeLR"),
            "milestones": sorted(whole(1, 50) for _ in range(2)),
        },
        "SequentialLR with cycles": lambda: {
            "schedulers": members(
                *some(
                    ("CyclicLR", "LinearLR", "CosineAnnealingLR"),
                    ("CosineAnnealingLR", "OneCycleLR", "ExponentialLR"),
                    ("OneCycleLR", "PolynomialLR", "OneCycleLR"),
                )
            ),
            "milestones": [12, 30],
        },
        "nested ChainedScheduler": lambda: {
            "schedulers": members("ChainedScheduler", "PolynomialLR", "MultiplicativeLR"),
        },
        "any chain": lambda: {
            "schedulers": members(
                *some(
                    ("CosineAnnealingLR", "ExponentialLR"),
                    ("LinearLR", "CosineAnnealingLR", "ConstantLR"),
                    ("LambdaLR", "StepLR"),
                    ("CyclicLR", "PolynomialLR"),
                    ("CosineAnnealingWarmRestarts", "MultiStepLR"),
                    ("OneCycleLR", "ExponentialLR"),
                )
            ),
        },
        "chain of SequentialLR": lambda: {
            "schedulers": members(
                *some(("SequentialLR", "ExponentialLR"), ("ConstantLR", "SequentialLR"))
            ),
        },
    }[name]()
    return {"name": CLASSES.get(name, name), **arguments}


CLASSES = {
    "nested SequentialLR": "SequentialLR",
    "SequentialLR of a chain": "SequentialLR",
    "SequentialLR after MultiplicativeLR": "SequentialLR",
    "SequentialLR with cycles": "SequentialLR",
    "nested ChainedScheduler": "ChainedScheduler",
    "any chain": "ChainedScheduler",
    "chain of SequentialLR": "ChainedScheduler",
}
SCHEDULERS = (
    "StepLR",
    "MultiStepLR",
    "ConstantLR",
    "LinearLR",
    "ExponentialLR",
    "PolynomialLR",
    "CosineAnnealingLR",
    "CosineAnnealingWarmRestarts",
    "CyclicLR",
    "OneCycleLR",
    "LambdaLR",
    "MultiplicativeLR",
    "SequentialLR",
    "ChainedScheduler",
)
NAMES = (
    *SCHEDULERS,
    "ReduceLROnPlateau",
    *CLASSES,
)


def settings(per_name: int = 3) -> dict[str, Setting]:
    """The settings by a name each; those of one scheduler do not depend on the others."""
    return {
        f"{name} {i}": drawn(name, np.random.default_rng([SEED, n, i]))
        for n, name in enumerate(NAMES)
        for i in range(per_name)
    }


def metrics(setting: Setting) -> list[float]:
    """What ReduceLROnPlateau is told: figures on a grid, so that there are ties."""
    rng = np.random.default_rng([SEED, setting["patience"], setting["cooldown"]])
    return [float(x) / 16 for x in rng.integers(-24, 24, UPDATES)]


def of_torch(setting: Setting, optimizer: Any) -> Any:
    """torch's scheduler."""
    from torch.optim import lr_scheduler

    arguments = {
        key: FUNCTIONS[x] if key in ("lr_lambda", "scale_fn") else x for key, x in setting.items()
    }
    made = getattr(lr_scheduler, arguments.pop("name"))
    if "schedulers" in arguments:
        arguments["schedulers"] = [of_torch(one, optimizer) for one in setting["schedulers"]]
    return made(optimizer=optimizer, **arguments)


def record(setting: Setting) -> dict[str, list[float]]:
    """The rates, and momenta if they change, of torch's optimizer in its steps."""
    import torch

    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=RATE, momentum=0.9)
    scheduler = of_torch(setting, optimizer)
    plateau = setting["name"] == "ReduceLROnPlateau"
    seen: dict[str, list[float]] = {"lr": [], "momentum": []}
    for count in range(UPDATES):
        if plateau:
            scheduler.step(metrics(setting)[count])
        for key, values in seen.items():
            values.append(float(optimizer.param_groups[0][key]))
        optimizer.step()
        if not plateau and count < UPDATES - 1:
            scheduler.step()
    return seen if setting["name"] in ("CyclicLR", "OneCycleLR") else {"lr": seen["lr"]}


def main() -> None:
    recorded = {
        name: {key: [float(f"{x:.10g}") for x in values] for key, values in record(setting).items()}
        for name, setting in settings().items()
    }
    lines = (f"{json.dumps(name)}: {json.dumps(rates)}" for name, rates in recorded.items())
    FILE.write_text("{\n" + ",\n".join(lines) + "\n}\n")


if __name__ == "__main__":
    main()
