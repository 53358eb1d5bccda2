"""Aggregated momentum."""

from __future__ import annotations

from typing import Annotated, Any, NamedTuple

import jax
import optax

from fnopt.core import (
    Composed,
    Rate,
    Transform,
    as_numbers,
    computing_dtype,
    scale_by_learning_rate,
    trace,
)
from fnopt.core.checks import Interval, float_leaves, refuse_state
from fnopt.core.fields import Field
from fnopt.core.moments import cast
from fnopt.core.types import OptState, Params, Updates

_DAMPING = Interval("[0, 1)")


def _betas(numbers: Any) -> tuple[Any, ...]:
    betas = as_numbers(numbers)
    for beta in betas:
        if isinstance(beta, float) and beta not in _DAMPING:
            raise ValueError(f"aggmo: betas must lie in {_DAMPING}, got {beta!r}")
    if not betas:
        raise ValueError("aggmo: betas must be one number at least, got none")
    return betas


Betas = Annotated[Any, Field(convert=_betas, shown="Sequence[float | Schedule]")]


class ScaleByAggmoState(NamedTuple):
    """The state of :class:`scale_by_aggmo`.

    Attributes:
        velocities: a decaying sum of the gradients for each damping factor.
    """

    velocities: tuple[Any, ...]


class scale_by_aggmo(Transform):
    r"""The mean of several momentums.

    .. math:: v^{(i)}_t = \beta^{(i)}\,v^{(i)}_{t-1} + g_t, \qquad
        u_t = \frac{1}{K} \sum_{i=1}^K v^{(i)}_t

    Args:
        betas: the damping factors :math:`\beta^{(i)} \in [0, 1)`, at least one.
    """

    betas: Betas = (0.0, 0.9, 0.99)

    leafwise = elementwise = keeps_zero = alike = True

    def init(self, params: Params) -> ScaleByAggmoState:
        return ScaleByAggmoState(tuple(trace(beta).init(params).trace for beta in self.betas))

    def update(
        self, updates: Updates, state: OptState, params: Params = None, **extra_args: Any
    ) -> tuple[Updates, ScaleByAggmoState]:
        if not isinstance(state, ScaleByAggmoState) or len(state.velocities) != len(self.betas):
            refuse_state(self, state)
        _, grads, treedef = float_leaves("updates", updates)
        wide = treedef.unflatten([cast(g, computing_dtype(g.dtype)) for g in grads])
        moved = [
            trace(beta).update(wide, optax.TraceState(velocity), params)
            for beta, velocity in zip(self.betas, state.velocities, strict=True)
        ]
        mean = jax.tree.map(_mean, treedef.unflatten(grads), *(u for u, _ in moved))
        return mean, ScaleByAggmoState(tuple(state.trace for _, state in moved))


def _mean(grad: jax.Array, *velocities: jax.Array) -> jax.Array:
    total: Any = sum(velocities[1:], velocities[0])
    return cast(total / len(velocities), grad.dtype)


class aggmo(Composed):
    r"""Gradient descent with several momentums, of which the slow ones are damped by the fast.

    .. math:: v^{(i)}_t = \beta^{(i)}\,v^{(i)}_{t-1} - g_t, \qquad
        \Delta\theta_t = \frac{\eta_t}{K} \sum_{i=1}^K v^{(i)}_t

    Args:
        learning_rate: learning rate :math:`\eta \ge 0`.
        betas: the damping factors :math:`\beta^{(i)} \in [0, 1)`; the paper's are
            :math:`1 - 0.1^{i-1}`.

    When:
        Where momentum above 0.9 would help but oscillates. It holds K copies of the parameters.

    References:
        Lucas, Sun, Zemel & Grosse, *Aggregated momentum: stability through passive damping*, ICLR
        2019, arXiv:1804.00325, eq. 3.
    """

    learning_rate: Rate
    betas: Betas = (0.0, 0.9, 0.99)
    family = "gradient_descent"
    usual_rate = 0.05

    def parts(self) -> tuple[Transform, ...]:
        return scale_by_aggmo(self.betas), scale_by_learning_rate(self.learning_rate)
