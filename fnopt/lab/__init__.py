"""Problems to look at, races of optimizers on them, and pictures."""

from __future__ import annotations

from fnopt.lab.curves import plot_curves as plot_curves
from fnopt.lab.problem import Problem as Problem
from fnopt.lab.race_result import Entrant as Entrant
from fnopt.lab.race_result import Race as Race
