"""torch.optim's optimizers and schedules: its names, its arguments, its numbers."""

from fnopt.compat.torch import init as init
from fnopt.compat.torch import lr_scheduler as lr_scheduler
from fnopt.compat.torch.adadelta import Adadelta as Adadelta
from fnopt.compat.torch.adafactor import Adafactor as Adafactor
from fnopt.compat.torch.adagrad import Adagrad as Adagrad
from fnopt.compat.torch.adam import Adam as Adam
from fnopt.compat.torch.adam import AdamW as AdamW
from fnopt.compat.torch.adamax import Adamax as Adamax
from fnopt.compat.torch.asgd import ASGD as ASGD
from fnopt.compat.torch.conversion import Converted as Converted
from fnopt.compat.torch.conversion import convert as convert
from fnopt.compat.torch.lbfgs import LBFGS as LBFGS
from fnopt.compat.torch.muon import Muon as Muon
from fnopt.compat.torch.nadam import NAdam as NAdam
from fnopt.compat.torch.named import flax_layout as flax_layout
from fnopt.compat.torch.radam import RAdam as RAdam
from fnopt.compat.torch.rmsprop import RMSprop as RMSprop
from fnopt.compat.torch.rprop import Rprop as Rprop
from fnopt.compat.torch.sgd import SGD as SGD
from fnopt.core.exports import public as _public

__all__ = _public(globals(), ("init", "lr_scheduler"))  # pyright: ignore[reportUnsupportedDunderAll]
