"""Many runs as one program, and runs that tune the optimizer itself."""

from fnopt.core.exports import public as _public
from fnopt.sweeps.hypergradient import Hypergradient as Hypergradient
from fnopt.sweeps.hypergradient import hypergradient as hypergradient
from fnopt.sweeps.tune import Tuned as Tuned
from fnopt.sweeps.tune import tune as tune

__all__ = _public(globals())  # pyright: ignore[reportUnsupportedDunderAll]
