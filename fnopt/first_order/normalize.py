"""Updates of one length: gradient descent by direction alone."""

from __future__ import annotations

from typing import Any

from fnopt.core import Context, Joint, NonNegative, Scalar, scale_to_length
from fnopt.core.types import Arrays, LeavesUpdate, Rows


class normalize(Joint):
    r"""Divides by the Euclidean norm of all updates together: :math:`u = g / \lVert g \rVert`.

    At :math:`g = 0` the update is 0, where optax's is NaN.

    When:
        The size of the gradient says nothing, as on plateaus and cliffs; the length of a step is
        then the learning rate, which must fall for the steps to end. In SAM, the inner step.

    References:
        Hazan, Levy & Shalev-Shwartz, *Beyond convexity: stochastic quasi-convex optimization*,
        NeurIPS 2015, arXiv:1507.02030, Algorithm 1.
    """

    elementwise = keeps_zero = True
    leafwise = False

    def update_leaves(
        self, grads: Arrays, slots: Rows, params: Any, shared: Any, ctx: Context, **extra_args: Any
    ) -> LeavesUpdate:
        return scale_to_length(grads, 1.0), [{} for _ in grads], {}


class normalize_by_update_norm(Joint):
    r"""Gives all updates together a length: :math:`u = \alpha\,g / (\lVert g \rVert + \epsilon)`.

    When:
        As :class:`normalize`, with a chosen length; with ``scale_factor=-1.0`` it makes steps.

    Args:
        scale_factor: length of the updates, :math:`\alpha`, of any sign.
        eps: added to the norm, :math:`\epsilon \ge 0`.
    """

    scale_factor: Scalar = 1.0
    eps: NonNegative = 1e-6

    elementwise = keeps_zero = True
    leafwise = False

    def update_leaves(
        self, grads: Arrays, slots: Rows, params: Any, shared: Any, ctx: Context, **extra_args: Any
    ) -> LeavesUpdate:
        return scale_to_length(grads, self.scale_factor, self.eps), [{} for _ in grads], {}
