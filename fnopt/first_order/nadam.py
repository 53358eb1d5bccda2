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
        learning_rate: :math:`\eta \ge 0`.
        b1: :math:`\beta_1 \in [0, 1)`, of the mean.
        b2: :math:`\beta_2 \in [0, 1)`, of the mean square.
        eps: :math:`\epsilon \ge 0`, beside the root.
        eps_root: :math:`\bar\epsilon \ge 0`, under the root.
        mu_dtype: of the mean.
        nu_dtype: of the mean square; None for single precision at least.
        nesterov: False for plain Adam.

    When:
        As :class:`adam`; it reacts one update sooner, which helps most early on and where there is
        little noise.

    References:
        Dozat, *Incorporating Nesterov momentum into Adam*, ICLR workshop 2016, Algorithm 2.
    """

    _: dataclasses.KW_ONLY
    nesterov: Static[bool] = True
