"""torch's Muon."""

from __future__ import annotations

import math
from typing import Annotated, Any

import jax
import jax.numpy as jnp
import optax

from fnopt.compat.torch.base import TorchOptimizer, refuse_complex
from fnopt.core import (
    Context,
    Fraction,
    NonNegative,
    Rate,
    Rule,
    Static,
    Transform,
    moment,
    norm,
    zeros,
)
from fnopt.core.fields import Field
from fnopt.core.ranges import Scheduled, Several
from fnopt.core.types import LeafUpdate, OptState, Params, Slots
from fnopt.matrix.by_shape import wide
from fnopt.matrix.newton_schulz import newton_schulz

Coefficients = Annotated[Any, Several(of=(Scheduled(),) * 3)]
Adjustment = Annotated[Any, Field(static=True, choices=(None, "original", "match_rms_adamw"))]


class scale_by_torch_muon(Rule):
    """Muon's direction of a matrix, with arguments of :class:`Muon`."""

    momentum: Fraction
    nesterov: Static[bool]
    ns_coefficients: Coefficients
    eps: NonNegative
    ns_steps: Static[int]
    adjust_lr_fn: Adjustment

    State = optax.TraceState
    keeps_zero = True

    def init_leaf(self, param: jax.Array) -> dict[str, jax.Array]:
        if param.ndim != 2:
            raise ValueError(
                f"Muon is for matrices alone, got a parameter of shape {param.shape}; give the"
                " others a separate optimizer by groups(…) or partition(…)"
            )
        return {"trace": zeros(param)}

    def update_leaf(self, grad: jax.Array, slots: Slots, param: Any, ctx: Context) -> LeafUpdate:
        average = moment(grad, slots.trace, self.momentum)
        ahead = moment(average, grad, 1 - self.momentum) if self.nesterov else average
        narrow = ahead.astype(jnp.bfloat16)
        narrow /= jnp.maximum(norm(narrow), self.eps).astype(jnp.bfloat16)
        rows = jnp.tile(jnp.array(self.ns_coefficients), (self.ns_steps, 1))
        (direction,) = wide(lambda x: newton_schulz(x, None, rows), [narrow[None]])
        direction = direction[0].astype(ahead.dtype)
        m, n = grad.shape
        if self.adjust_lr_fn == "match_rms_adamw":
            factor = 0.2 * math.sqrt(max(m, n))
        else:
            factor = math.sqrt(max(1, m / max(n, 1)))
        return factor * direction, {"trace": average}


class Muon(TorchOptimizer):
    r"""``torch.optim.Muon``: orthogonalized momentum, for matrices.

    .. math::
        B_t &= \mu\,B_{t-1} + (1 - \mu)\,g_t, &
        O_t &= \operatorname{NS}\bigl((1 - \mu)\,g_t + \mu\,B_t\bigr) \\
        \theta_t &= (1 - \eta_t\,\lambda)\,\theta_{t-1} - \eta_t\,c\,O_t, &
        c &= \sqrt{\max(1, m / n)} \text{ or } 0.2\,\sqrt{\max(m, n)}

    for an :math:`m \times n` matrix, where NS is a Newton-Schulz iteration towards the nearest
    orthogonal matrix, in bfloat16 as torch's. Without ``nesterov`` it is applied to :math:`B_t`.
    torch's :math:`m` counts the outputs of a layer; of a kernel of Flax, which lies the other way
    round, the inputs, so that the first :math:`c` is another one. The second is not.

    Args:
        lr: learning rate :math:`\eta \ge 0`.
        weight_decay: strength of the weight decay, :math:`\lambda \ge 0`.
        momentum: decay of the average, :math:`\mu \in [0, 1]`.
        nesterov: whether to look ahead along the average.
        ns_coefficients: the three coefficients of the iteration's polynomial.
        eps: smallest norm that is divided by, at least 0.
        ns_steps: number of iterations, below 100.
        adjust_lr_fn: choice of :math:`c`: None or ``"original"`` for the first,
            ``"match_rms_adamw"`` for the second.

    Raises:
        ValueError: a number is out of its range, or, in ``init``, a parameter is no matrix.

    References:
        Jordan et al., *Muon: an optimizer for hidden layers in neural networks*, 2024; Liu et al.,
        *Muon is scalable for LLM training*, 2025, arXiv:2502.16982; torch 2.13,
        ``torch/optim/_muon.py``.
    """

    lr: Rate = 1e-3
    weight_decay: Rate = 0.1
    momentum: Fraction = 0.95
    nesterov: Static[bool] = True
    ns_coefficients: Coefficients = (3.4445, -4.7750, 2.0315)
    eps: NonNegative = 1e-7
    ns_steps: Static[int] = 5
    adjust_lr_fn: Adjustment = None

    def __post_init__(self, *switches: Any) -> None:
        super().__post_init__(*switches)
        whole = isinstance(self.ns_steps, int) and not isinstance(self.ns_steps, bool)
        if not whole or not 0 <= self.ns_steps < 100:
            raise ValueError(
                f"Muon: ns_steps must be an integer in [0, 100), got {self.ns_steps!r}"
            )

    def init(self, params: Params) -> OptState:
        refuse_complex(self, params)
        return super().init(params)

    def parts(self) -> tuple[Transform, ...]:
        method = scale_by_torch_muon(
            self.momentum,
            self.nesterov,
            self.ns_coefficients,
            self.eps,
            self.ns_steps,
            self.adjust_lr_fn,
        )
        return self.around(method, decoupled=True)
