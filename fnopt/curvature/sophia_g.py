"""Sophia-G: Sophia with the Gauss-Newton-Bartlett estimate of the curvature."""

from __future__ import annotations

from fnopt.core import Composed, Decay, Mask, NonNegative, Rate, Seed, Transform
from fnopt.core.ranges import AtLeastOne, Bound
from fnopt.curvature.gauss_newton_bartlett import (
    Likelihood,
    gauss_newton_bartlett_estimator_diag_hessian,
)
from fnopt.first_order.sophia import sophia


class sophia_g(Composed):
    r"""Sophia-G: the mean gradient over an estimate of the Gauss-Newton diagonal, clipped.

    .. math:: \Delta\theta_t = -\eta_t\,\bigl(\operatorname{clip}(m_t / \max(\gamma\,h_t,
        \epsilon),\, \rho) + \lambda\,\theta_{t-1}\bigr)

    with the means of :class:`scale_by_sophia` and the estimate of
    :class:`gauss_newton_bartlett_estimator_diag_hessian`. ``update`` receives ``evaluation``, which
    has the outputs of the model and the loss of them; a step of ``fnopt.train`` passes it. A step
    costs :math:`1 + 1/k` gradients, with :math:`k` the ``update_interval``.

    When:
        Pre-training of language models, for which it was designed and tuned, and other
        classification. Its rate is a little below AdamW's, its weight decay twice AdamW's.

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
        likelihood: the loss: "categorical" for the cross entropy of logits, "bernoulli" for the
            binary cross entropy of logits, "normal" for squared errors.
        random_seed: seed of the estimates, an integer or a key; 0 if None.

    References:
        Liu, Li, Hall, Liang & Ma, *Sophia: a scalable stochastic second-order optimizer for
        language model pre-training*, ICLR 2024, arXiv:2305.14342, Algorithms 2 and 3.

    >>> import fnopt, jax.numpy as jnp, optax
    >>> inputs, labels = jnp.eye(3), jnp.arange(3)
    >>> evaluation = fnopt.core.Evaluation.of_outputs(
    ...     lambda w: inputs @ w,
    ...     lambda z: optax.softmax_cross_entropy_with_integer_labels(z, labels).mean(),
    ... )
    >>> tx, w = fnopt.sophia_g(1e-3), jnp.zeros((3, 3))
    >>> updates, state = tx.update(evaluation.grad(w), tx.init(w), w, evaluation=evaluation)
    >>> float(evaluation.value(w + updates)) < float(evaluation.value(w))
    True
    """

    learning_rate: Rate
    b1: Decay = 0.96
    b2: Decay = 0.99
    eps: NonNegative = 1e-12
    weight_decay: Rate = 0.2
    weight_decay_mask: Mask = None
    gamma: NonNegative = 0.05
    clip_threshold: Bound = 1.0
    update_interval: AtLeastOne = 10.0
    likelihood: Likelihood = "categorical"
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
            gauss_newton_bartlett_estimator_diag_hessian(self.likelihood, self.random_seed),
        ).parts()
