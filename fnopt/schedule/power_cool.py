"""PowerCool: a constant rate, then a power of the time that is left."""

from __future__ import annotations

import jax

from fnopt.core import Number, Schedule, Steps
from fnopt.core.types import Numeric
from fnopt.schedule.decay import polynomial_schedule
from fnopt.schedule.progress import Length


class power_cool_schedule(Schedule):
    r"""A constant value, then a power of the number of updates that are left.

    .. math:: \eta_t = \min\bigl(\eta,\ c\,(T - t)^p\bigr), \qquad
        c = \eta / D^{\,p}, \qquad T = S + D

    and 0 from :math:`T` on; :class:`polynomial_schedule` to 0 in other words. The authors give
    :math:`c` and :math:`T`, and so :math:`D = (\eta / c)^{1/p}`.

    Args:
        value: value of the constant part, :math:`\eta`.
        stable_steps: number of updates at this value, :math:`S \ge 0`.
        decay_steps: length of the decay in updates, :math:`D > 0`.
        power: power of the time that is left, :math:`p`; 1 for a straight line.

    When:
        Matrix methods at a budget that is known. A run may stop before :math:`T`, while the rate
        is not yet 0, as those of the benchmark do.

    References:
        Pande, in *NanoGPT small optimization benchmark*, 2026,
        github.com/KellerJordan/modded-nanogpt, records/track_3_optimization, result 20.

    >>> import fnopt
    >>> schedule = fnopt.power_cool_schedule(1.0, 2, 4, power=2)
    >>> [float(schedule(count)) for count in range(8)]
    [1.0, 1.0, 1.0, 0.5625, 0.25, 0.0625, 0.0, 0.0]
    """

    value: Number
    stable_steps: Length
    decay_steps: Steps
    power: Number = 1.2

    def at(self, count: jax.Array) -> Numeric:
        return polynomial_schedule(
            self.value, 0.0, self.power, self.decay_steps, self.stable_steps
        ).at(count)
