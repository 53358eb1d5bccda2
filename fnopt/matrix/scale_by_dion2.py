"""Dion2's direction: a share of the rows or columns of momentum, orthogonalized."""

from __future__ import annotations

import dataclasses
import math
from typing import Annotated, Any

import jax
import jax.numpy as jnp

from fnopt.core import Decay, DType, NonNegative, zeros
from fnopt.core.checks import Interval, brief
from fnopt.core.context import Context
from fnopt.core.fields import Field, as_number
from fnopt.core.ranges import NonNegativeInteger
from fnopt.core.types import Arrays, Rows
from fnopt.matrix.by_shape import wide
from fnopt.matrix.choice import MatricesField
from fnopt.matrix.coefficients import Coefficients
from fnopt.matrix.iterated import Iterated
from fnopt.matrix.rule import MatrixRule


def _as_share(value: Any) -> float:
    share = as_number(value)
    if not isinstance(share, float):
        raise TypeError(f"must be a number, got {brief(value)}; it decides shapes of arrays")
    if share not in Interval("(0, 1]"):
        raise ValueError(f"must lie in (0, 1], got {share!r}")
    return share


Share = Annotated[Any, Field(convert=_as_share, static=True, shown="float")]
"""A share of rows, above 0 and at most 1, which is structure: it decides shapes."""
Adjustment = Annotated[Any, Field(static=True, choices=("spectral_norm", "rms_norm", None))]
"""A factor by shape; see :class:`scale_by_dion2`."""


class scale_by_dion2(Iterated, MatrixRule):
    r"""The largest rows of momentum, orthogonalized; the other rows wait for a later update.

    .. math::
        \tilde M_t &= M_{t-1} + G_t, \qquad
        S = \text{the } \lceil \alpha\,r \rceil \text{ rows of } \tilde M_t
        \text{ of largest } \textstyle\sum_j \lvert \tilde M_{t,ij} \rvert \\
        u_{t,S} &= c\,U V^* \text{ of } \tilde M_{t,S} = U \Sigma V^*, \qquad u_{t,i} = 0
        \text{ for } i \notin S \\
        M_{t,S} &= \mu\,\tilde M_{t,S}, \qquad M_{t,i} = \tilde M_{t,i} \text{ for } i \notin S

    with :math:`r` the shorter side of a matrix: of one with more rows than columns the columns are
    meant. Only what has been used decays, so that what is not selected is not forgotten. With
    :math:`\alpha = 1` it is the orthogonal factor of :class:`trace`'s sum.

    Args:
        fraction: share of the rows, :math:`\alpha \in (0, 1]`, which is structure: another one is
            another program.
        ef_decay: share of the rows selected that remains, :math:`\mu \in [0, 1)`.
        adjust_lr: :math:`c` for :math:`m` outputs and :math:`n` inputs: ``"spectral_norm"`` for
            :math:`\sqrt{m/n}`, ``"rms_norm"`` for :math:`0.2\,\sqrt{\max(m, n)}`, None for 1.
        ns_coeffs: coefficients of the iteration; see :class:`scale_by_muon`.
        ns_steps: number of iterations, an integer at least 0.
        eps: added to the norm that a matrix is divided by, at least 0.
        mu_dtype: dtype of the momentum; the parameter's if None.
        matrices: which leaves are matrices, and how: pairs of a pattern of paths and words for the
            axes, as ``("blocks/*/kernel", "stack in out")``; by name and shape if None.
        ns_dtype: dtype of the iteration, such as bfloat16; float32, or float64 for float64 leaves,
            if None.

    References:
        Ahn, Amsel & Langford, *Dion2: a simple method to shrink matrix in Muon*, 2025,
        arXiv:2512.16928. The authors' program iterates in bfloat16, with ``"dion"`` or, by default
        in later versions, Polar Express; a sharded matrix is selected along the sharded side there.
    """

    fraction: Share = 0.25
    ef_decay: Decay = 0.95
    _: dataclasses.KW_ONLY
    adjust_lr: Adjustment = "spectral_norm"
    ns_coeffs: Coefficients = "dion"
    ns_steps: NonNegativeInteger = 5
    eps: NonNegative = 1e-8
    mu_dtype: DType = None
    matrices: MatricesField = None
    ns_dtype: DType = None
    family = "parts"

    keeps_zero = True
    like_params = ("mu",)

    def init_matrices(self, param: jax.Array) -> dict[str, jax.Array]:
        return {"mu": zeros(param, self.mu_dtype)}

    def update_matrices(
        self, grads: Arrays, slots: Rows, params: Any, ctx: Context, **extra_args: Any
    ) -> tuple[Arrays, list[dict[str, Any]]]:
        momenta = [s.mu + g for g, s in zip(grads, slots, strict=True)]
        pairs = wide(self._selected, momenta)
        directions = [self._factor(unit) * unit for unit, _ in pairs]
        return directions, [{"mu": mu} for _, mu in pairs]

    def _selected(self, momenta: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Directions before the factor, and momenta after decay, of wide matrices."""
        number, rows, _ = momenta.shape
        count = math.ceil(self.fraction * rows)
        if count == rows:
            return self.orthogonalized([momenta])[0], self.ef_decay * momenta
        _, chosen = jax.lax.top_k(jnp.sum(jnp.abs(momenta), axis=-1), count)
        at = jnp.arange(number)[:, None], chosen
        part = momenta[at]
        directions = jnp.zeros_like(momenta).at[at].set(self.orthogonalized([part])[0])
        return directions, momenta.at[at].set(self.ef_decay * part)

    def _factor(self, matrices: jax.Array) -> float:
        _, m, n = matrices.shape
        if self.adjust_lr is None:
            return 1.0
        return math.sqrt(m / n) if self.adjust_lr == "spectral_norm" else 0.2 * math.sqrt(max(m, n))
