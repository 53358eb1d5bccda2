"""The run around an optimizer: the objective, one step, many steps, evaluation."""

from fnopt.core.exports import public as _public
from fnopt.train.average import averaged as averaged
from fnopt.train.average import ema_of_params as ema_of_params
from fnopt.train.average import swa as swa
from fnopt.train.best import Best as Best
from fnopt.train.checkpoint import restore as restore
from fnopt.train.errors import CheckpointError as CheckpointError
from fnopt.train.errors import DataError as DataError
from fnopt.train.errors import NonFiniteError as NonFiniteError
from fnopt.train.evaluate import evaluate as evaluate
from fnopt.train.evaluate import observe as observe
from fnopt.train.evaluation_on import evaluation_on as evaluation_on
from fnopt.train.fit import fit as fit
from fnopt.train.history import History as History
from fnopt.train.imported import import_optax_state as import_optax_state
from fnopt.train.make_objective import objective as objective
from fnopt.train.make_step import make_train_step as make_train_step
from fnopt.train.metrics import accuracy as accuracy
from fnopt.train.metrics import maximized as maximized
from fnopt.train.metrics import minimized as minimized
from fnopt.train.objective import Objective as Objective
from fnopt.train.options import StepOptions as StepOptions
from fnopt.train.precision import Precision as Precision
from fnopt.train.predict import predict as predict
from fnopt.train.result import FitResult as FitResult
from fnopt.train.rounding import stochastic_round as stochastic_round
from fnopt.train.scaling import dynamic_scaling as dynamic_scaling
from fnopt.train.serialize import register_schedules as register_schedules
from fnopt.train.state import TrainState as TrainState
from fnopt.train.step import train_step as train_step
from fnopt.train.stopping import early_stopping as early_stopping

register_schedules()

__all__ = _public(globals())  # pyright: ignore[reportUnsupportedDunderAll]
