"""AdaHessian."""

from __future__ import annotations

import dataclasses

from fnopt.core import (
    Composed,
    Decay,
    DType,
    Fraction,
    Inner,
    Mask,
    NonNegative,
    Rate,
    Transform,
    add_decayed_weights,
    scale_by_learning_rate,
)
from fnopt.core.ranges import AtLeastOne
from fnopt.curvature.scale_by_adahessian import SpatialAxes, scale_by_adahessian
from fnopt.first_order.hutchinson import hutchinson_estimator_diag_hessian


class adahessian(Composed):
    r"""AdaHessian: Adam with the diagonal of the Hessian instead of the gradient's square.

    .. math:: \Delta\theta_t = -\eta_t\,\bigl(\hat m_t / (\hat v_t^{k/2} + \epsilon)
        + \lambda\,\theta_{t-1}\bigr)

    with the means of :class:`scale_by_adahessian`. ``update`` receives ``value_fn``, the loss on
    this batch as a function of the parameters; a step of ``fnopt.train`` passes it. A step costs
    about three gradients, and :math:`1 + 2/n` with an estimate in every :math:`n`-th update.

    When:
        A diagonal curvature is wanted that follows the loss, with Adam's averages: its rate is
        less sensitive than Adam's, and about a hundred times as large.

    Args:
        learning_rate: learning rate :math:`\eta \ge 0`.
        b1: decay of the mean gradient, :math:`\beta_1 \in [0, 1)`.
        b2: decay of the mean square of the diagonal, :math:`\beta_2 \in [0, 1)`.
        eps: added to the divisor, :math:`\epsilon \ge 0`.
        hessian_power: power :math:`k` of the curvature, from 0, momentum alone, to 1, a Newton
            step.
        update_interval: number of updates from one estimate of the curvature to the next, rounded.
        spatial_axes: where kernels of convolutions have the axes that the curvature is averaged
            over, "first" or "last"; None averages nothing.
        weight_decay: strength of the weight decay, :math:`\lambda \ge 0`.
        weight_decay_mask: the leaves to decay; all if None.
        hessian_diagonal_fn: a transform that gives the estimate.
        mu_dtype: dtype of the mean gradient; the parameter's if None.
        nu_dtype: dtype of the mean square; the parameter's, float32 at least, if None.

    References:
        Yao, Gholami, Shen, Mustafa, Keutzer & Mahoney, *ADAHESSIAN: an adaptive second order
        optimizer for machine learning*, AAAI 2021, arXiv:2006.00719, Algorithm 1.

    >>> import fnopt, jax.numpy as jnp
    >>> curvature = jnp.array([1.0, 100.0])
    >>> loss = lambda w: jnp.sum(curvature * w**2) / 2
    >>> tx, w = fnopt.adahessian(1.0), jnp.array([3.0, -2.0])
    >>> tx.update(curvature * w, tx.init(w), w, value_fn=loss)[0].round(2)  # Newton's step
    Array([-3.,  2.], dtype=float32)
    """

    learning_rate: Rate
    b1: Decay = 0.9
    b2: Decay = 0.999
    eps: NonNegative = 1e-4
    hessian_power: Fraction = 1.0
    update_interval: AtLeastOne = 1.0
    spatial_axes: SpatialAxes = "first"
    weight_decay: Rate = 0.0
    weight_decay_mask: Mask = None
    hessian_diagonal_fn: Inner = hutchinson_estimator_diag_hessian()
    mu_dtype: DType = None
    _: dataclasses.KW_ONLY
    nu_dtype: DType = None
    family = "curvature"
    usual_rate = 0.15

    def parts(self) -> tuple[Transform, ...]:
        return (
            scale_by_adahessian(
                self.b1,
                self.b2,
                self.eps,
                self.hessian_power,
                self.update_interval,
                self.spatial_axes,
                self.hessian_diagonal_fn,
                self.mu_dtype,
                nu_dtype=self.nu_dtype,
            ),
            add_decayed_weights(self.weight_decay, self.weight_decay_mask),
            scale_by_learning_rate(self.learning_rate),
        )
