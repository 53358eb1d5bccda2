"""Rprop, in its four published variants."""

from __future__ import annotations

import dataclasses
from typing import Annotated, Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from fnopt.core import (
    Composed,
    Context,
    Joint,
    NonNegative,
    Rate,
    Transform,
    real_zeros,
    required,
    scale,
    zeros,
)
from fnopt.core.checks import Interval
from fnopt.core.fields import Field
from fnopt.core.ranges import Bound, Scheduled
from fnopt.core.types import Arrays, LeavesUpdate, Rows

Variant = Annotated[Any, Field(static=True, choices=("rprop+", "rprop-", "irprop+", "irprop-"))]
Shrinkage = Annotated[Any, Scheduled(Interval("(0, 1)"))]
Growth = Annotated[Any, Scheduled(Interval("(1, inf)"))]


class RpropWithValueState(NamedTuple):
    """The state of iRprop+, which looks back at the loss."""

    step_sizes: Any
    prev_updates: Any
    prev_value: jax.Array


class scale_by_rprop(Joint):
    r"""The sign of the gradient times a separate step size for each weight.

    .. math:: \Delta_t = \begin{cases}
        \min(\eta^+ \Delta_{t-1}, \Delta_{\max}) & g_t\,g_{t-1} > 0 \\
        \max(\eta^- \Delta_{t-1}, \Delta_{\min}) & g_t\,g_{t-1} < 0 \\
        \Delta_{t-1} & \text{else}\end{cases}, \qquad u_t = \Delta_t \operatorname{sign}(g_t)

    but where :math:`g_t\,g_{t-1} < 0`, and the last step has thus gone too far, a variant

    - ``"rprop-"`` does just that;
    - ``"irprop-"`` stays put, and takes :math:`g_t` as 0 in the next step;
    - ``"rprop+"`` takes the last step back, and takes :math:`g_t` as 0 in the next step;
    - ``"irprop+"`` does so if the loss has risen, else stays put.

    Of complex weights the sign is the phase, and the product is of :math:`g_t` with the conjugate
    of :math:`g_{t-1}`, its real part. Arguments are those of :class:`rprop`.
    """

    learning_rate: Rate
    eta_minus: Shrinkage = 0.5
    eta_plus: Growth = 1.2
    min_step_size: NonNegative = 1e-6
    max_step_size: Bound = 50.0
    _: dataclasses.KW_ONLY
    variant: Variant = "irprop-"
    leafwise = elementwise = keeps_zero = True

    @property
    def State(self) -> Any:
        return RpropWithValueState if self.variant == "irprop+" else optax.ScaleByRpropState

    @property
    def shared(self) -> tuple[str, ...]:
        return ("prev_value",) if self.variant == "irprop+" else ()

    def init_shared(self, params: Arrays) -> dict[str, Any]:
        return dict.fromkeys(self.shared, jnp.full((), jnp.inf, jnp.result_type(float)))

    def init_leaf(self, param: jax.Array) -> dict[str, jax.Array]:
        sizes = real_zeros(param, fill=self.learning_rate)
        return {"step_sizes": sizes, "prev_updates": zeros(param)}

    def update_leaves(
        self, grads: Arrays, slots: Rows, params: Any, shared: Any, ctx: Context, **extra_args: Any
    ) -> LeavesUpdate:
        risen = self.variant == "rprop+"
        if self.variant == "irprop+":
            value = jnp.asarray(required(self, "value", extra_args.get("value")))
            risen, shared = value > shared["prev_value"], {"prev_value": value}
        directions, rows = [], []
        for grad, slot in zip(grads, slots, strict=True):
            sign = jnp.sign(grad)
            agreement = (sign * jnp.conj(slot.prev_updates)).real
            factor = jnp.where(agreement > 0, self.eta_plus, self.eta_minus)
            bounded = jnp.clip(factor * slot.step_sizes, self.min_step_size, self.max_step_size)
            # A size of 0 has not begun: a schedule may start there.
            size = jnp.where(slot.step_sizes == 0, self.learning_rate, slot.step_sizes)
            step = jnp.where(agreement == 0, size, bounded)
            direction = stored = step * sign
            if self.variant != "rprop-":
                stored = jnp.where(agreement < 0, 0, direction)
                back = jnp.where(risen, -slot.prev_updates, 0)
                direction = jnp.where(agreement < 0, back, direction)
            directions.append(direction)
            rows.append({"step_sizes": step, "prev_updates": stored})
        return directions, rows, shared


class rprop(Composed):
    r"""Rprop: a step size for each weight, growing while the gradient keeps its sign.

    .. math:: \Delta\theta_t = -\Delta_t \operatorname{sign}(g_t)

    with :math:`\Delta_t` as in :class:`scale_by_rprop`. The default, iRprop-, is torch's too.
    optax applies every step one update late; here a step is applied at once.

    When:
        Full-batch training of small networks, where it needs no tuning. Not with mini-batches:
        noise turns the signs, and the steps shrink.

    Args:
        learning_rate: initial step size :math:`\Delta_0 \ge 0`; a schedule's first value above 0.
        eta_minus: factor of a step size whose sign changed, :math:`\eta^- \in (0, 1)`.
        eta_plus: factor of a step size whose sign did not change, :math:`\eta^+ > 1`.
        min_step_size: smallest step size, :math:`\Delta_{\min} \ge 0`.
        max_step_size: largest step size, :math:`\Delta_{\max} > 0`; no limit if None or inf.
        variant: ``"rprop+"``, ``"rprop-"``, ``"irprop+"`` (needs ``value``) or ``"irprop-"``.

    Raises:
        ValueError: there is no such variant, or iRprop+ received no ``value``, the loss.

    References:
        Riedmiller & Braun, *A direct adaptive method for faster backpropagation learning: the
        RPROP algorithm*, 1993, doi:10.1109/ICNN.1993.298623; Igel & Hüsken, *Improving the Rprop
        learning algorithm*, NC 2000, which has all four.
    """

    learning_rate: Rate
    eta_minus: Shrinkage = 0.5
    eta_plus: Growth = 1.2
    min_step_size: NonNegative = 1e-6
    max_step_size: Bound = 50.0
    _: dataclasses.KW_ONLY
    variant: Variant = "irprop-"
    family = "sign"

    def parts(self) -> tuple[Transform, ...]:
        return scale_by_rprop(**self._asdict()), scale(-1.0)
