"""Early stopping in plain Python, as users of Keras and torch count it."""

import dataclasses
import math
from typing import Any


@dataclasses.dataclass
class Stopping:
    """After more than ``patience`` metrics in a row that are no better it stops for good."""

    patience: int
    min_delta: float
    mode: str

    def __post_init__(self) -> None:
        self.best = math.inf if self.mode == "min" else -math.inf
        self.bad = 0
        self.stop = False
        self.kept: Any = 0

    def step(self, metric: float, there: Any) -> bool:
        """Whether the run is over after this metric; ``there`` is kept if it is the best."""
        if self.stop:
            return True
        gain = self.best - metric if self.mode == "min" else metric - self.best
        if math.isinf(self.best):
            better = metric < self.best if self.mode == "min" else metric > self.best
        else:
            better = gain > self.min_delta
        if better:
            self.best, self.bad, self.kept = metric, 0, there
        else:
            self.bad += 1
        self.stop = self.bad > self.patience
        return self.stop
