"""Reducing on a plateau in plain Python: torch's counting, fnopt's comparison."""

import dataclasses
import math


def better(metric: float, best: float, rtol: float, atol: float, mode: str) -> bool:
    """Beyond the best by a share of its magnitude and an amount; NaN is not."""
    if math.isinf(best):
        return metric < best if mode == "min" else metric > best
    margin = rtol * abs(best) + atol
    return metric < best - margin if mode == "min" else metric > best + margin


@dataclasses.dataclass
class Plateau:
    """``torch.optim.lr_scheduler.ReduceLROnPlateau`` on means of ``accumulation_size`` metrics."""

    factor: float = 0.1
    patience: float = 10
    rtol: float = 1e-4
    atol: float = 0.0
    cooldown: int = 0
    accumulation_size: int = 1
    min_scale: float = 0.0
    mode: str = "min"

    def __post_init__(self) -> None:
        self.scale = 1.0
        self.best = math.inf if self.mode == "min" else -math.inf
        self.num_bad = 0
        self.cooling = 0
        self.window: list[float] = []

    def step(self, metric: float) -> float:
        """The scale of the update that brings this metric."""
        self.window.append(metric)
        if len(self.window) < self.accumulation_size:
            return self.scale
        mean = sum(self.window) / len(self.window)
        self.window = []
        if better(mean, self.best, self.rtol, self.atol, self.mode):
            self.best = mean
            self.num_bad = 0
        else:
            self.num_bad += 1
        if self.cooling > 0:
            self.cooling -= 1
            self.num_bad = 0
        if self.num_bad > self.patience:
            self.scale = max(self.scale * self.factor, self.min_scale)
            self.cooling = self.cooldown
            self.num_bad = 0
        return self.scale
