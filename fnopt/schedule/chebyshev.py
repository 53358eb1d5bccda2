"""Step sizes from the roots of Chebyshev's polynomials."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from fnopt.core import Schedule, Static
from fnopt.core.types import Numeric
from fnopt.schedule.progress import Positive, at_least_one, falling


class chebyshev_schedule(Schedule):
    r"""The best step sizes of plain gradient descent on quadratics, :math:`T` at a time.

    .. math:: \eta_t^{-1} = \frac{M + m}{2} - \frac{M - m}{2}
        \cos\frac{(\sigma(t \bmod T) - \tfrac12)\,\pi}{T}

    where :math:`\sigma` orders the numbers from 1 to :math:`T`: in fractal order, by
    :math:`\sigma_1 = (1)` and :math:`\sigma_{2T}` = :math:`\sigma_T` and
    :math:`2T + 1 - \sigma_T` by turns, or from the largest step to the smallest.

    After :math:`T` steps what was along an eigenvector of the Hessian is smaller by
    :math:`\lvert T_T\bigl(\tfrac{M + m - 2\lambda}{M - m}\bigr)\rvert /
    T_T\bigl(\tfrac{M + m}{M - m}\bigr)`, the least that :math:`T` step sizes can warrant; some
    single steps are above :math:`2 / M` and climb.

    Args:
        min_curvature: bound below the smallest eigenvalue of the Hessian, :math:`m > 0`.
        max_curvature: bound above the largest eigenvalue, :math:`M > m`.
        transition_steps: number of steps in a cycle, an integer :math:`T \ge 1`, static; a power of
            2 for the fractal order. The steps are repeated after it.
        fractal: whether the order is fractal; False for that from largest to smallest, in which
            rounding errors grow with :math:`T` until they cover the result.

    Raises:
        ValueError: a range or its order is wrong, or :math:`T` is no power of 2.

    When:
        Problems near to quadratic whose curvatures are known, without memory for momentum.

    References:
        Young, *On Richardson's method for solving linear systems with positive definite matrices*,
        1953, doi:10.1002/sapm1953321243; Agarwal, Goel & Zhang, *Acceleration via fractal learning
        rate schedules*, ICML 2021, arXiv:2103.01338; Lebedev & Finogenov, *Ordering of the
        iterative parameters in the cyclical Chebyshev iterative method*, 1971 (the order).

    >>> import fnopt
    >>> schedule = fnopt.chebyshev_schedule(1.0, 3.0, 2)
    >>> [round(float(1 / schedule(count)), 3) for count in range(3)]
    [1.293, 2.707, 1.293]
    """

    min_curvature: Positive
    max_curvature: Positive
    transition_steps: Static[int]
    fractal: Static[bool] = True

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least_one(self, "transition_steps")
        falling(self, "max_curvature", "min_curvature", "is the largest there is")
        if self.fractal and self.transition_steps.bit_count() > 1:
            raise ValueError(
                "chebyshev_schedule: transition_steps must be a power of 2 for the fractal order,"
                f" got {self.transition_steps}"
            )

    def at(self, count: jax.Array) -> Numeric:
        steps = self.transition_steps
        order = _fractal(steps) if self.fractal else np.arange(1, steps + 1)
        cosines = jnp.asarray(np.cos((order - 0.5) * np.pi / steps)).astype(count.dtype)
        low, high = self.min_curvature, self.max_curvature
        cosine = cosines[(count % steps).astype(int)]
        return 1 / ((high + low) / 2 - (high - low) / 2 * cosine)


def _fractal(steps: int) -> np.ndarray:
    order = np.ones(1)
    while len(order) < steps:
        order = np.stack([order, 2 * len(order) + 1 - order], axis=1).ravel()
    return order
