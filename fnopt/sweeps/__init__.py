"""Many runs as one program, and what comes of them."""

from fnopt.core.exports import public as _public
from fnopt.sweeps.data import Entrant as Entrant
from fnopt.sweeps.data import RunRecord as RunRecord
from fnopt.sweeps.data import Sweep as Sweep
from fnopt.sweeps.distributions import choice as choice
from fnopt.sweeps.distributions import lin_space as lin_space
from fnopt.sweeps.distributions import log_space as log_space
from fnopt.sweeps.distributions import log_uniform as log_uniform
from fnopt.sweeps.distributions import uniform as uniform
from fnopt.sweeps.grid import grid as grid
from fnopt.sweeps.grid import sample as sample
from fnopt.sweeps.sweep import sweep as sweep

__all__ = _public(globals())  # pyright: ignore[reportUnsupportedDunderAll]
