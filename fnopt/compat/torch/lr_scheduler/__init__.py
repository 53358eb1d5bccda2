"""torch's learning-rate schedulers as schedules, with torch's arguments and torch's numbers.

Where torch has the optimizer, these have its rate ``lr``; ``last_epoch`` is the count that the
schedule is called with. The value at count k is the rate of the optimizer's step number k, the
first being 0, if ``scheduler.step()`` follows every step of the optimizer; for epochs of n updates
there is ``by_epoch(n)``. A schedule is that of one parameter group.

What torch takes as an integer and uses as a length is a number and a leaf here. Where torch would
carry on with a number that makes no sense (a negative one, a milestone between two updates) these
raise.

>>> import fnopt
>>> from fnopt.compat.torch import lr_scheduler
>>> schedule = lr_scheduler.StepLR(0.1, step_size=30)
>>> schedule
StepLR(lr=0.1, step_size=30.0, gamma=0.1)
>>> tx = fnopt.sgd(schedule, momentum=0.9)
"""

from fnopt.compat.torch.lr_scheduler.composed import ChainedScheduler as ChainedScheduler
from fnopt.compat.torch.lr_scheduler.composed import SequentialLR as SequentialLR
from fnopt.compat.torch.lr_scheduler.cycles import CyclicLR as CyclicLR
from fnopt.compat.torch.lr_scheduler.cycles import OneCycleLR as OneCycleLR
from fnopt.compat.torch.lr_scheduler.factors import ConstantLR as ConstantLR
from fnopt.compat.torch.lr_scheduler.factors import ExponentialLR as ExponentialLR
from fnopt.compat.torch.lr_scheduler.factors import LinearLR as LinearLR
from fnopt.compat.torch.lr_scheduler.factors import MultiplicativeLR as MultiplicativeLR
from fnopt.compat.torch.lr_scheduler.factors import MultiStepLR as MultiStepLR
from fnopt.compat.torch.lr_scheduler.factors import PolynomialLR as PolynomialLR
from fnopt.compat.torch.lr_scheduler.factors import StepLR as StepLR
from fnopt.compat.torch.lr_scheduler.live import of_torch as of_torch
from fnopt.compat.torch.lr_scheduler.plateau import ReduceLROnPlateau as ReduceLROnPlateau
from fnopt.compat.torch.lr_scheduler.waves import CosineAnnealingLR as CosineAnnealingLR
from fnopt.compat.torch.lr_scheduler.waves import (
    CosineAnnealingWarmRestarts as CosineAnnealingWarmRestarts,
)
from fnopt.compat.torch.lr_scheduler.waves import LambdaLR as LambdaLR
