"""torch's optimizers by the names of their classes, and what torch calls their slots."""

from __future__ import annotations

from typing import Any

from fnopt.compat.torch.adadelta import Adadelta
from fnopt.compat.torch.adafactor import Adafactor
from fnopt.compat.torch.adagrad import Adagrad
from fnopt.compat.torch.adam import Adam, AdamW
from fnopt.compat.torch.adamax import Adamax
from fnopt.compat.torch.asgd import ASGD
from fnopt.compat.torch.lbfgs import LBFGS
from fnopt.compat.torch.muon import Muon
from fnopt.compat.torch.nadam import NAdam
from fnopt.compat.torch.radam import RAdam
from fnopt.compat.torch.rmsprop import RMSprop
from fnopt.compat.torch.rprop import Rprop
from fnopt.compat.torch.sgd import SGD

_CLASSES = (
    Adadelta,
    Adafactor,
    Adagrad,
    Adam,
    AdamW,
    Adamax,
    ASGD,
    LBFGS,
    Muon,
    NAdam,
    RAdam,
    RMSprop,
    Rprop,
    SGD,
)
OPTIMIZERS: dict[str, Any] = {kind.__name__: kind for kind in _CLASSES}
"""The classes by name."""
SLOTS = {
    "SGD": {"trace": "momentum_buffer"},
    "ASGD": {"average": "ax"},
    "Adam": {"mu": "exp_avg", "nu": "exp_avg_sq", "nu_max": "max_exp_avg_sq"},
    "AdamW": {"mu": "exp_avg", "nu": "exp_avg_sq", "nu_max": "max_exp_avg_sq"},
    "Adamax": {"mu": "exp_avg", "nu": "exp_inf"},
    "Adadelta": {"e_g": "square_avg", "e_x": "acc_delta"},
    "Adafactor": {"row_var": "row_var", "col_var": "col_var", "variance": "variance"},
    "Adagrad": {"sum_of_squares": "sum"},
    "NAdam": {"mu": "exp_avg", "nu": "exp_avg_sq"},
    "RAdam": {"mu": "exp_avg", "nu": "exp_avg_sq"},
    "RMSprop": {"nu": "square_avg", "mu": "grad_avg", "trace": "momentum_buffer"},
    "Rprop": {"step_sizes": "step_size", "prev_updates": "prev"},
    "Muon": {"trace": "momentum_buffer"},
}
"""The slots of our states by their names in torch's."""
