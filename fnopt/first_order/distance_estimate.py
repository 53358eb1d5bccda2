"""The estimate of the distance to the solution, which D-Adaptation and Prodigy share."""

from __future__ import annotations

from typing import Any

from fnopt.core import Joint, real_number
from fnopt.core.types import Arrays


class DistanceEstimate(Joint):
    """A method whose rate is an estimate of the distance, from the first, ``estim_lr0``, upward."""

    family = ""
    shared = ("estim_lr", "numerator_weighted")
    needs_params = True

    def init_shared(self, params: Arrays) -> dict[str, Any]:
        return {
            "estim_lr": real_number(vars(self)["estim_lr0"], params),
            "numerator_weighted": real_number(0.0, params),
        }
