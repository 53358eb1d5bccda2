"""NAdamW."""

from __future__ import annotations

import dataclasses

from fnopt.core import Static
from fnopt.first_order.adamw import adamw


class nadamw(adamw):
    r"""NAdamW: :class:`adamw` with Nesterov's momentum.

    .. math:: \Delta\theta_t = -\eta_t\,\Bigl(
        \frac{\beta_1\,m_t / (1 - \beta_1^{t+1}) + (1 - \beta_1)\,g_t / (1 - \beta_1^t)}
        {\sqrt{\hat v_t + \bar\epsilon} + \epsilon} + \lambda\,\theta_{t-1}\Bigr)

    Args:
        learning_rate: learning rate :math:`\eta \ge 0`.
        b1: decay of the mean, :math:`\beta_1 \in [0, 1)`.
        b2: decay of the mean square, :math:`\beta_2 \in [0, 1)`.
        eps: added to the root, :math:`\epsilon \ge 0`.
        eps_root: added under the root, :math:`\bar\epsilon \ge 0`.
        mu_dtype: dtype of the mean; the parameter's if None.
        nu_dtype: dtype of the mean square; the parameter's, float32 at least, if None.
        weight_decay: strength of the weight decay, :math:`\lambda \ge 0`.
        mask: the leaves to decay; all if None.
        nesterov: False for plain AdamW.

    When:
        As :class:`adamw`; with tuned decay and schedule it is among the strongest
        baselines of the AlgoPerf benchmark (arXiv:2306.07179).

    References:
        Dozat, *Incorporating Nesterov momentum into Adam*, ICLR workshop 2016, Algorithm 2;
        Loshchilov & Hutter, *Decoupled weight decay regularization*, ICLR 2019, arXiv:1711.05101.
    """

    _: dataclasses.KW_ONLY
    nesterov: Static[bool] = True
