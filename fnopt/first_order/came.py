"""CAME."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax

from fnopt.core import (
    Composed,
    Context,
    Decay,
    Mask,
    Positive,
    Rate,
    Rule,
    Transform,
    abs_sq,
    add_decayed_weights,
    moment,
    rms,
    scale_by_learning_rate,
    zeros,
)
from fnopt.core.ranges import Bound
from fnopt.core.types import LeafUpdate, Slots
from fnopt.first_order.block import excess
from fnopt.first_order.factored import factored_zeros, inverse_root


class CameState(NamedTuple):
    """The mean of steps, and two second moments: of each the rows and columns, or the whole."""

    mu: Any
    v_row: Any
    v_col: Any
    v: Any
    res_row: Any
    res_col: Any


class scale_by_came(Rule):
    r"""Adafactor's direction, averaged, and divided by how unsteady it has been.

    .. math::
        \hat u_t &= \operatorname{clip}_d\bigl(g_t / \sqrt{\text{factored}_{\beta_2}
            (g_t^2 + \epsilon_1)}\bigr), \qquad m_t = \beta_1\,m_{t-1} + (1 - \beta_1)\,\hat u_t \\
        u_t &= m_t / \sqrt{\text{factored}_{\beta_3}((\hat u_t - m_t)^2 + \epsilon_2)}

    The factored averages are those of :class:`scale_by_factored_rms` over the last two axes, with
    constant decays, and clipping is :class:`clip_by_block_rms`. Leaves with fewer than two axes
    have a whole second moment and :math:`u_t = m_t`, as in the authors' program.

    Args:
        b1: decay of the mean of steps, :math:`\beta_1 \in [0, 1)`.
        b2: decay of the mean of squared gradients, :math:`\beta_2 \in [0, 1)`.
        b3: decay of the mean of squared deviations, :math:`\beta_3 \in [0, 1)`.
        eps1: added to squared gradients, :math:`\epsilon_1 > 0`.
        eps2: added to squared deviations, :math:`\epsilon_2 > 0`.
        clipping_threshold: largest root mean square, :math:`d > 0`; None or inf does not clip.
    """

    b1: Decay = 0.9
    b2: Decay = 0.999
    b3: Decay = 0.9999
    eps1: Positive = 1e-30
    eps2: Positive = 1e-16
    clipping_threshold: Bound = 1.0

    State = CameState
    keeps_zero = True

    def init_leaf(self, param: jax.Array) -> dict[str, Any]:
        row, col, whole = factored_zeros(param, _last_two(param))
        res_row, res_col, _ = factored_zeros(param, _last_two(param))
        slots = {"mu": zeros(param), "v_row": row, "v_col": col, "v": whole}
        return {**slots, "res_row": res_row, "res_col": res_col}

    def update_leaf(self, grad: jax.Array, slots: Slots, param: Any, ctx: Context) -> LeafUpdate:
        axes = _last_two(grad)
        factor, (row, col, whole) = inverse_root(
            abs_sq(grad) + self.eps1, (slots.v_row, slots.v_col, slots.v), self.b2, axes
        )
        step = grad * factor
        step = step / excess(rms(step), self.clipping_threshold)
        direction = mu = moment(step, slots.mu, self.b1)
        res_row = res_col = ()
        if axes is not None:
            factor, (res_row, res_col, _) = inverse_root(
                abs_sq(step - mu) + self.eps2, (slots.res_row, slots.res_col, ()), self.b3, axes
            )
            direction = mu * factor
        new = {"mu": mu, "v_row": row, "v_col": col, "v": whole}
        return direction, {**new, "res_row": res_row, "res_col": res_col}


def _last_two(x: jax.Array) -> tuple[int, int] | None:
    return (x.ndim - 2, x.ndim - 1) if x.ndim >= 2 else None


class came(Composed):
    r"""CAME: Adafactor that trusts its steps the less the more they deviate from their mean.

    .. math:: \Delta\theta_t = -\eta_t\,(u_t + \lambda\,\theta_{t-1})

    with :math:`u_t` as in :class:`scale_by_came`. Nothing is corrected for the start at 0: the
    first step is some ten times the rate, later ones up to fifty times; warm the rate up.

    When:
        Large language models, instead of Adafactor: its memory plus one slot, progress
        closer to AdamW's. Rates are lower than AdamW's.

    Args:
        learning_rate: learning rate :math:`\eta \ge 0`.
        b1: decay of the mean of steps, :math:`\beta_1 \in [0, 1)`.
        b2: decay of the mean of squared gradients, :math:`\beta_2 \in [0, 1)`.
        b3: decay of the mean of squared deviations, :math:`\beta_3 \in [0, 1)`.
        eps1: added to squared gradients, :math:`\epsilon_1 > 0`.
        eps2: added to squared deviations, :math:`\epsilon_2 > 0`.
        clipping_threshold: largest root mean square of a leaf's step, :math:`d > 0`; None or inf
            does not clip.
        weight_decay: strength of the weight decay, :math:`\lambda \ge 0`.
        mask: the leaves to decay; all if None.

    References:
        Luo et al., *CAME: confidence-guided adaptive memory efficient optimization*, ACL 2023,
        arXiv:2307.02047, Algorithm 2.
    """

    learning_rate: Rate
    b1: Decay = 0.9
    b2: Decay = 0.999
    b3: Decay = 0.9999
    eps1: Positive = 1e-30
    eps2: Positive = 1e-16
    clipping_threshold: Bound = 1.0
    weight_decay: Rate = 0.0
    mask: Mask = None
    family = "layerwise"

    def parts(self) -> tuple[Transform, ...]:
        return (
            scale_by_came(self.b1, self.b2, self.b3, self.eps1, self.eps2, self.clipping_threshold),
            add_decayed_weights(self.weight_decay, self.mask),
            scale_by_learning_rate(self.learning_rate),
        )
