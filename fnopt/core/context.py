"""What a rule receives besides its arrays: the count, and facts about a leaf."""

from __future__ import annotations

from typing import Any, NamedTuple

from fnopt.core.types import Numeric


class Context(NamedTuple):
    """What ``update_leaf`` and ``update_leaves`` receive besides gradients, slots and parameters.

    Attributes:
        t: the number of this update, 1 for the first, a scalar in the dtype of the computation;
            None if the state has no count.
        precomputed: what :meth:`fnopt.Rule.precompute` returned for this ``t``; None if the state
            has no count.
        path: the path of the leaf, as in ``"updates['w']"``, for errors; empty in a
            :class:`fnopt.Joint`, which has all leaves.
        dtype: the dtype in which the parameter is stored, or that of the gradient if ``update``
            was called without parameters; None in a :class:`fnopt.Joint`.
    """

    t: Numeric = None
    precomputed: Any = None
    path: str = ""
    dtype: Any = None
