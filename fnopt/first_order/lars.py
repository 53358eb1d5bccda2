"""LARS."""

from __future__ import annotations

from typing import Annotated, Any

import jax

from fnopt.core import (
    Composed,
    Context,
    Decay,
    Mask,
    NonNegative,
    Rate,
    Rule,
    Static,
    Transform,
    add_decayed_weights,
    combined,
    norm,
    scale_by_learning_rate,
    trace,
)
from fnopt.core.fields import Field
from fnopt.core.select import as_flags
from fnopt.core.types import LeafUpdate, Slots
from fnopt.first_order.trust_ratio import scale_by_trust_ratio, trusted


def _chosen(mask: Any) -> Any:
    return None if mask is None or mask is True else as_flags(mask)


_Chosen = Annotated[
    Any, Field(convert=_chosen, static=True, shown="PyTree | Callable | str | bool")
]
_ALL = as_flags(True)


class _decay_and_trust(Rule):
    r"""Decay and trust ratio, which is of the sum of the norms, not of the norm of the sum."""

    weight_decay: Rate
    trust_coefficient: NonNegative
    eps: NonNegative
    mask: Mask

    needs_params = True

    def update_leaf(self, grad: jax.Array, slots: Slots, param: Any, ctx: Context) -> LeafUpdate:
        weights = norm(param)
        step = norm(grad) + self.weight_decay * weights
        decayed = grad + self.weight_decay * param
        return trusted(decayed, weights, step, self.trust_coefficient, self.eps), {}


class lars(Composed):
    r"""LARS: momentum of gradients in proportion to the weights of their layer.

    .. math::
        \lambda_t &= \kappa\,\frac{\lVert\theta_{t-1}\rVert}
            {\lVert g_t\rVert + \beta\,\lVert\theta_{t-1}\rVert + \epsilon} \\
        v_t &= m\,v_{t-1} - \eta_t\,\lambda_t\,(g_t + \beta\,\theta_{t-1}),
        \qquad \Delta\theta_t = v_t

    Norms are those of a leaf; where that of the weights or the divisor is 0,
    :math:`\lambda_t = 1`. The divisor is the paper's: optax has the norm of the sum instead of
    the sum of the norms, which agrees without decay.

    When:
        Convolutional networks with very large batches; leave biases and normalization out of both
        masks, as is usual.

    Args:
        learning_rate: learning rate :math:`\eta \ge 0`.
        weight_decay: strength of the weight decay, :math:`\beta \ge 0`.
        weight_decay_mask: the leaves to decay; all if True or None.
        trust_coefficient: ratio of step to weights, :math:`\kappa \ge 0`.
        eps: added to the sum of the norms, :math:`\epsilon \ge 0`.
        trust_ratio_mask: the leaves to scale; all if True or None.
        momentum: decay of the velocity, :math:`m \in [0, 1)`.
        nesterov: whether to look ahead along the velocity.

    References:
        You, Gitman & Ginsburg, *Large batch training of convolutional networks*, 2017,
        arXiv:1708.03888, Algorithm 1.
    """

    learning_rate: Rate
    weight_decay: Rate = 0.0
    weight_decay_mask: _Chosen = True
    trust_coefficient: NonNegative = 0.001
    eps: NonNegative = 0.0
    trust_ratio_mask: _Chosen = True
    momentum: Decay = 0.9
    nesterov: Static[bool] = False
    family = "layerwise"

    def parts(self) -> tuple[Transform, ...]:
        masks = self.weight_decay_mask or _ALL, self.trust_ratio_mask or _ALL
        both = combined(lambda decay, trust: decay and trust, *masks)
        decay_alone = combined(lambda decay, trust: decay and not trust, *masks)
        trust_alone = combined(lambda decay, trust: trust and not decay, *masks)
        return (
            _decay_and_trust(self.weight_decay, self.trust_coefficient, self.eps, both),
            add_decayed_weights(self.weight_decay, decay_alone),
            scale_by_trust_ratio(0.0, self.trust_coefficient, self.eps, trust_alone),
            scale_by_learning_rate(self.learning_rate),
            trace(self.momentum, self.nesterov),
        )
