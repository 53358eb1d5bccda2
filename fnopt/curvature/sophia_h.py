"""Sophia-H: Sophia with Hutchinson's estimate of the Hessian's diagonal."""

from __future__ import annotations

from fnopt.core import Composed, Decay, Mask, NonNegative, Rate, Seed, Transform
from fnopt.core.ranges import AtLeastOne, Bound
from fnopt.first_order.hutchinson import hutchinson_estimator_diag_hessian
from fnopt.first_order.sophia import sophia


class sophia_h(Composed):
    r"""Sophia-H: the mean gradient over an estimate of the Hessian's diagonal, clipped.

    .. math:: \Delta\theta_t = -\eta_t\,\bigl(\operatorname{clip}(m_t / \max(\gamma\,h_t,
        \epsilon),\, \rho) + \lambda\,\theta_{t-1}\bigr)

    with the means of :class:`scale_by_sophia` and the estimate of
    :class:`hutchinson_estimator_diag_hessian`. It is :class:`sophia` with the numbers of the paper,
    where :class:`sophia` has optax's. ``update`` receives ``value_fn``, the loss on this batch as a
    function of the parameters; a step of ``fnopt.train`` passes it. A step costs
    :math:`1 + 2/k` gradients, with :math:`k` the ``update_interval``.

    When:
        Any loss that can be differentiated twice; :class:`sophia_g` costs less where the loss is a
        cross entropy. Its rate is a little below AdamW's, its weight decay twice AdamW's.

    Args:
        learning_rate: learning rate :math:`\eta \ge 0`.
        b1: decay of the mean gradient, :math:`\beta_1 \in [0, 1)`.
        b2: decay of the mean diagonal, :math:`\beta_2 \in [0, 1)`.
        eps: smallest curvature that is divided by, :math:`\epsilon \ge 0`.
        weight_decay: strength of the weight decay, :math:`\lambda \ge 0`.
        weight_decay_mask: the leaves to decay; all if None.
        gamma: factor of the curvature, :math:`\gamma \ge 0`.
        clip_threshold: largest magnitude of an element, :math:`\rho > 0`; None or inf does not
            clip.
        update_interval: number of updates from one estimate of the curvature to the next, rounded.
        random_seed: seed of the estimates, an integer or a key; 0 if None.

    References:
        Liu, Li, Hall, Liang & Ma, *Sophia: a scalable stochastic second-order optimizer for
        language model pre-training*, ICLR 2024, arXiv:2305.14342, Algorithms 1 and 3,
        with vectors of signs instead of normal ones.
    """

    learning_rate: Rate
    b1: Decay = 0.96
    b2: Decay = 0.99
    eps: NonNegative = 1e-12
    weight_decay: Rate = 0.2
    weight_decay_mask: Mask = None
    gamma: NonNegative = 0.01
    clip_threshold: Bound = 1.0
    update_interval: AtLeastOne = 10.0
    random_seed: Seed = None
    family = "curvature"

    def parts(self) -> tuple[Transform, ...]:
        return sophia(
            self.learning_rate,
            self.b1,
            self.b2,
            self.eps,
            self.weight_decay,
            self.weight_decay_mask,
            self.gamma,
            self.clip_threshold,
            self.update_interval,
            hutchinson_estimator_diag_hessian(self.random_seed),
        ).parts()
