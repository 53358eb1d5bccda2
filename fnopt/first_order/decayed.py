"""Weight decay that a rule has inside, for some leaves."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fnopt.core import Rule, combined
from fnopt.core.types import Numeric


def decayed(rule: Callable[..., Rule], weight_decay: Numeric, mask: Any) -> tuple[Rule, ...]:
    """A rule with a weight decay for the leaves of a mask, and without for the others.

    Args:
        rule: a function of ``weight_decay`` and ``mask``, the leaves it is for, that returns a
            rule.
        weight_decay: strength of the decay of the chosen leaves, a number at least 0 or a schedule.
        mask: the leaves to decay; all if None.
    """
    if mask is None:
        return (rule(weight_decay=weight_decay),)
    others = combined(lambda chosen: not chosen, mask)
    return rule(weight_decay=weight_decay, mask=mask), rule(weight_decay=0.0, mask=others)
