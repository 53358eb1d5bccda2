"""The schedules of AdEMAMix: the warm-up of its slow mean."""

from __future__ import annotations

from typing import Annotated, Any

import jax
import jax.numpy as jnp

from fnopt.core import Number, Schedule, Steps
from fnopt.core.checks import Interval
from fnopt.core.fields import Field
from fnopt.core.types import Numeric

Average = Annotated[Any, Field(Interval("(0, 1)"))]


class ademamix_alpha_schedule(Schedule):
    r"""The weight of the slow mean, rising in a straight line.

    .. math:: \alpha_t = \min(t / T, 1)\,\alpha

    with :math:`t = 1` for the first update, as the paper counts, that is for the count 0.

    Args:
        end_value: weight at the end, :math:`\alpha`.
        transition_steps: length of the rise in updates, :math:`T > 0`, of the order of the whole
            run.

    When:
        For ``alpha`` of :class:`ademamix`, with :class:`ademamix_b3_schedule` for ``b3``.

    References:
        Pagliardini, Ablin & Grangier, *The AdEMAMix optimizer: better, faster, older*, 2024,
        arXiv:2409.03137, section 3, :math:`f_\alpha`.
    """

    end_value: Number
    transition_steps: Steps

    def at(self, count: jax.Array) -> Numeric:
        return self.end_value * _share(count, self.transition_steps)


class ademamix_b3_schedule(Schedule):
    r"""The decay of the slow mean, its half-life rising in a straight line.

    .. math:: \beta_t = \exp\Bigl(\frac{\ln\beta_0\,\ln\beta_T}
        {(1 - s)\ln\beta_T + s\ln\beta_0}\Bigr), \qquad s = \min(t / T, 1)

    with :math:`t = 1` for the first update, as the paper counts, that is for the count 0.

    Args:
        init_value: decay at the start, :math:`\beta_0 \in (0, 1)`; ``b1`` in the paper.
        end_value: decay at the end, :math:`\beta_T \in (0, 1)`.
        transition_steps: length of the rise in updates, :math:`T > 0`, of the order of the whole
            run.

    When:
        For ``b3`` of :class:`ademamix`: a mean as slow from the start makes early training
        unstable.

    References:
        Pagliardini, Ablin & Grangier, *The AdEMAMix optimizer: better, faster, older*, 2024,
        arXiv:2409.03137, section 3, :math:`f_{\beta_3}`.

    >>> import fnopt
    >>> schedule = fnopt.ademamix_b3_schedule(0.5, 0.25, 2)
    >>> [round(float(schedule(count)), 4) for count in range(3)]
    [0.3969, 0.25, 0.25]
    """

    init_value: Average
    end_value: Average
    transition_steps: Steps

    def at(self, count: jax.Array) -> Numeric:
        share = _share(count, self.transition_steps)
        first, last = jnp.log(self.init_value), jnp.log(self.end_value)
        return jnp.exp(first * last / ((1 - share) * last + share * first))


def _share(count: jax.Array, steps: Any) -> jax.Array:
    return jnp.minimum((count + 1) / steps, 1.0)
