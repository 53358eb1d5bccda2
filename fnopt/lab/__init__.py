"""Problems of two variables, races of optimizers on them, and pictures of runs."""

from fnopt.core.exports import public as _public
from fnopt.lab.curves import plot_curves as plot_curves
from fnopt.lab.filters import filter_normalized_directions as filter_normalized_directions
from fnopt.lab.noise import GradientNoise as GradientNoise
from fnopt.lab.noise import GradientNoiseRecorder as GradientNoiseRecorder
from fnopt.lab.noise import NoiseRecord as NoiseRecord
from fnopt.lab.noise import gradient_noise as gradient_noise
from fnopt.lab.path_picture import plot_path as plot_path
from fnopt.lab.path_recorder import PathRecorder as PathRecorder
from fnopt.lab.problem import Problem as Problem
from fnopt.lab.problem import noisy as noisy
from fnopt.lab.problems import ackley as ackley
from fnopt.lab.problems import beale as beale
from fnopt.lab.problems import himmelblau as himmelblau
from fnopt.lab.problems import ill_conditioned_quadratic as ill_conditioned_quadratic
from fnopt.lab.problems import long_valley as long_valley
from fnopt.lab.problems import matyas as matyas
from fnopt.lab.problems import plateau as plateau
from fnopt.lab.problems import problems as problems
from fnopt.lab.problems import rastrigin as rastrigin
from fnopt.lab.problems import rosenbrock as rosenbrock
from fnopt.lab.problems import saddle as saddle
from fnopt.lab.race import race as race
from fnopt.lab.race_data import Entrant as Entrant
from fnopt.lab.race_result import Race as Race
from fnopt.lab.schedules import plot_schedule as plot_schedule
from fnopt.lab.step_sizes import StepSizeRecorder as StepSizeRecorder
from fnopt.lab.themes import themed as themed

__all__ = _public(globals())  # pyright: ignore[reportUnsupportedDunderAll]
