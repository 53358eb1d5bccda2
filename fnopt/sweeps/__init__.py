"""Many runs as one program, what comes of them, and runs that tune the optimizer itself."""

from fnopt.core.exports import public as _public
from fnopt.sweeps.brackets import Rung as Rung
from fnopt.sweeps.brackets import budget_bracket as budget_bracket
from fnopt.sweeps.brackets import halving_bracket as halving_bracket
from fnopt.sweeps.brackets import hyperband_brackets as hyperband_brackets
from fnopt.sweeps.data import BestEntrant as BestEntrant
from fnopt.sweeps.data import Entrant as Entrant
from fnopt.sweeps.data import RunRecord as RunRecord
from fnopt.sweeps.data import Sweep as Sweep
from fnopt.sweeps.distributions import choice as choice
from fnopt.sweeps.distributions import integers as integers
from fnopt.sweeps.distributions import lin_space as lin_space
from fnopt.sweeps.distributions import log_space as log_space
from fnopt.sweeps.distributions import log_uniform as log_uniform
from fnopt.sweeps.distributions import uniform as uniform
from fnopt.sweeps.grid import grid as grid
from fnopt.sweeps.grid import sample as sample
from fnopt.sweeps.halve import hyperband as hyperband
from fnopt.sweeps.halve import successive_halving as successive_halving
from fnopt.sweeps.halving import BracketResult as BracketResult
from fnopt.sweeps.halving import RungResult as RungResult
from fnopt.sweeps.halving_result import HalvingResult as HalvingResult
from fnopt.sweeps.hypergradient import Hypergradient as Hypergradient
from fnopt.sweeps.hypergradient import hypergradient as hypergradient
from fnopt.sweeps.noise_scale import gradient_noise_scale as gradient_noise_scale
from fnopt.sweeps.noise_scale_result import NoiseScale as NoiseScale
from fnopt.sweeps.population import PopulationStep as PopulationStep
from fnopt.sweeps.population import exploit_and_explore as exploit_and_explore
from fnopt.sweeps.population_result import PopulationResult as PopulationResult
from fnopt.sweeps.population_training import (
    population_based_training as population_based_training,
)
from fnopt.sweeps.races import Races as Races
from fnopt.sweeps.races import races as races
from fnopt.sweeps.range_test import learning_rate_range_test as learning_rate_range_test
from fnopt.sweeps.range_test_result import RangeTest as RangeTest
from fnopt.sweeps.solves import BestSolves as BestSolves
from fnopt.sweeps.solves import Solves as Solves
from fnopt.sweeps.solves import solves as solves
from fnopt.sweeps.sweep import sweep as sweep
from fnopt.sweeps.table import Table as Table
from fnopt.sweeps.trials import optuna_objective as optuna_objective
from fnopt.sweeps.trials import optuna_sweep as optuna_sweep
from fnopt.sweeps.tune import Tuned as Tuned
from fnopt.sweeps.tune import tune as tune

__all__ = _public(globals())  # pyright: ignore[reportUnsupportedDunderAll]
