"""DoG: distance over gradients."""

from __future__ import annotations

from typing import Annotated, Any

import jax
import jax.numpy as jnp
import optax
import optax.contrib

from fnopt.core import (
    Composed,
    Context,
    Joint,
    Mask,
    NonNegative,
    Rate,
    Transform,
    add_decayed_weights,
    divide,
    global_norm,
    identity,
    real_number,
    root,
    scale_by_learning_rate,
    vdot,
)
from fnopt.core.checks import Interval, did_you_mean
from fnopt.core.fields import Field, as_numbers
from fnopt.core.types import Arrays, LeavesUpdate, Rows


def _as_step(step: Any) -> dict[str, Any]:
    pairs = list(step.items()) if isinstance(step, dict) else [step]
    if len(pairs) != 1 or not isinstance(pairs[0], tuple) or len(pairs[0]) != 2:
        raise TypeError(f"must be a pair of a kind and a number, got {step!r}")
    [(kind, number)] = pairs
    if kind not in (kinds := ("distance", "learning_rate", "heuristic")):
        raise ValueError(f"init_step is of no known kind, {kind!r}; {did_you_mean(kind, kinds)}")
    (number,) = as_numbers([number])
    if isinstance(number, float) and number not in (allowed := Interval("(0, inf)")):
        raise ValueError(f"init_step must lie in {allowed}, got {number!r}")
    # A dict of one: the kind is its structure, and the number its leaf.
    return {kind: number}


InitStep = Annotated[Any, Field(convert=_as_step, shown="tuple[str, float]")]
"""A pair of ``"distance"``, ``"learning_rate"`` or ``"heuristic"`` and a number above 0."""


class scale_by_dog(Joint):
    r"""Multiplies by the distance covered over the root of all squared gradients.

    .. math::
        \bar r_t = \max(\bar r_{t-1}, \lVert \theta_{t-1} - \theta_0 \rVert), \qquad
        G_t = G_{t-1} + \lVert g_t \rVert^2, \qquad
        u_t = g_t\,\bar r_t / \sqrt{G_t + \epsilon}

    Args:
        init_step: what the first step comes from. ``("distance", r)`` is :math:`\bar r_0 = r`,
            ``("heuristic", a)`` :math:`\bar r_0 = a\,(1 + \lVert \theta_0 \rVert)` and
            ``("learning_rate", e)`` a first step of :math:`e\,g_1`.
        eps: added under the root, :math:`\epsilon \ge 0`.
    """

    init_step: InitStep
    eps: NonNegative = 1e-8

    State = optax.contrib.DoGState
    shared = ("is_init_step", "max_dist", "sum_sq_norm_grads")
    needs_params = True
    elementwise = keeps_zero = True

    def init_shared(self, params: Arrays) -> dict[str, Any]:
        [(kind, number)] = self.init_step.items()
        distance = {"heuristic": lambda: number * (1 + global_norm(params))}
        first = distance.get(kind, lambda: 0.0 if kind == "learning_rate" else number)()
        return {
            "is_init_step": jnp.asarray(True),
            "max_dist": real_number(first, params),
            "sum_sq_norm_grads": real_number(0.0, params),
        }

    def init_leaf(self, param: jax.Array) -> dict[str, jax.Array]:
        return {"init_params": jnp.array(param)}

    def update_leaves(
        self, grads: Arrays, slots: Rows, params: Any, shared: Any, ctx: Context, **extra_args: Any
    ) -> LeavesUpdate:
        moved = global_norm([p - s.init_params for p, s in zip(params, slots, strict=True)])
        distance = jnp.maximum(shared["max_dist"], moved)
        total = shared["sum_sq_norm_grads"] + vdot(grads, grads)
        rate = divide(distance, root(total + self.eps))
        if "learning_rate" in self.init_step:
            # Also while nothing has moved, as at a rate or with a gradient of 0.
            first = shared["is_init_step"] | (distance == 0)
            rate = jnp.where(first, self.init_step["learning_rate"], rate)
        new = {
            "is_init_step": jnp.asarray(False),
            "max_dist": distance,
            "sum_sq_norm_grads": total,
        }
        return [rate * g for g in grads], [s._asdict() for s in slots], new


class dog(Composed):
    r"""DoG: gradient descent whose rate is the distance covered over the gradients seen.

    .. math:: \Delta\theta_t = -\eta_t\,g_t\,\max_{i < t} \lVert \theta_i - \theta_0 \rVert
        \,\big/\, \sqrt{\epsilon + \textstyle\sum_{i \le t} \lVert g_i \rVert^2}

    Args:
        learning_rate: factor of the rate that is found, :math:`\eta \ge 0`; 1 in the paper.
        init_step: what the first step comes from: ``("heuristic", a)`` for a distance of
            :math:`a\,(1 + \lVert \theta_0 \rVert)`, with 1e-6 for :math:`a` or, with batch
            normalization, 1e-4; ``("distance", r)`` or ``("learning_rate", e)``, times
            the first :math:`\eta`.
        eps: added under the root, :math:`\epsilon \ge 0`.
        weight_decay: strength of an L2 penalty, :math:`\lambda \ge 0`; none if None.
        mask: the leaves to penalize; all if None.

    When:
        No rate is to be tuned; fine-tuning above all. Evaluate an average of the parameters, as
        the authors do: the last ones are noisy.

    References:
        Ivgi, Hinder & Carmon, *DoG is SGD's best friend: a parameter-free dynamic step size
        schedule*, ICML 2023, arXiv:2302.12022, eq. (DoG) and section 4.
    """

    learning_rate: Rate = 1.0
    init_step: InitStep = ("heuristic", 1e-6)
    eps: NonNegative = 1e-8
    weight_decay: Rate = None
    mask: Mask = None
    family = "rate_free"

    def parts(self) -> tuple[Transform, ...]:
        penalty = identity()
        if self.weight_decay is not None:
            penalty = add_decayed_weights(self.weight_decay, self.mask)
        return (
            penalty,
            scale_by_dog(self.init_step, self.eps),
            scale_by_learning_rate(self.learning_rate),
        )
