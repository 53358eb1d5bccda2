"""Many runs as one program, and what comes of them."""

from fnopt.core.exports import public as _public
from fnopt.sweeps.data import BestEntrant as BestEntrant
from fnopt.sweeps.data import Entrant as Entrant
from fnopt.sweeps.data import RunRecord as RunRecord
from fnopt.sweeps.data import Sweep as Sweep
from fnopt.sweeps.table import Table as Table

__all__ = _public(globals())  # pyright: ignore[reportUnsupportedDunderAll]
