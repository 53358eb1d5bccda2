"""NAdam."""

from __future__ import annotations

import dataclasses

from fnopt.core import Static
from fnopt.first_order.adam import adam


class nadam(adam):
    r"""NAdam: :class:`adam` with Nesterov's momentum.

    .. math:: \Delta\theta_t = -\eta_t\,
        \frac{\beta_1\,m_t / (1 - \beta_1^{t+1}) + (1 - \beta_1)\,g_t / (1 - \beta_1^t)}
        {\sqrt{\hat v_t + \bar\epsilon} + \epsilon}

    The paper's momentum follows a schedule; here, as in optax, it stays unless ``b1`` is scheduled.

    Args:
        learning_rate: learning rate :math:`\eta \ge 0`.
        b1: decay of the mean, :math:`\beta_1 \in [0, 1)`.
        b2: decay of the mean square, :math:`\beta_2 \in [0, 1)`.
        eps: added to the root, :math:`\epsilon \ge 0`.
        eps_root: added under the root, :math:`\bar\epsilon \ge 0`.
        mu_dtype: dtype of the mean; the parameter's if None.
        nu_dtype: dtype of the mean square; the parameter's, float32 at least, if None.
        nesterov: False for plain Adam.

    When:
        As :class:`adam`; it reacts one update sooner, which helps most early on and where there is
        little noise.

    References:
        Dozat, *Incorporating Nesterov momentum into Adam*, ICLR workshop 2016, Algorithm 2.
    """

    _: dataclasses.KW_ONLY
    nesterov: Static[bool] = True
