"""Many runs as one program, and what comes of them."""

from fnopt.core.exports import public as _public
from fnopt.sweeps.brackets import Rung as Rung
from fnopt.sweeps.brackets import budget_bracket as budget_bracket
from fnopt.sweeps.brackets import halving_bracket as halving_bracket
from fnopt.sweeps.brackets import hyperband_brackets as hyperband_brackets
from fnopt.sweeps.halving import BracketResult as BracketResult
from fnopt.sweeps.halving import RungResult as RungResult
from fnopt.sweeps.noise_scale import gradient_noise_scale as gradient_noise_scale
from fnopt.sweeps.noise_scale_result import NoiseScale as NoiseScale
from fnopt.sweeps.population import PopulationStep as PopulationStep
from fnopt.sweeps.population import exploit_and_explore as exploit_and_explore
from fnopt.sweeps.range_test import learning_rate_range_test as learning_rate_range_test
from fnopt.sweeps.range_test_result import RangeTest as RangeTest

__all__ = _public(globals())  # pyright: ignore[reportUnsupportedDunderAll]
