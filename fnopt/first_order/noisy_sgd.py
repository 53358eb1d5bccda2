"""Gradient descent with noise that fades."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import optax

from fnopt.core import (
    Composed,
    Context,
    Joint,
    NonNegative,
    Rate,
    Seed,
    Transform,
    as_key,
    root,
    scale_by_learning_rate,
)
from fnopt.core.types import Arrays, LeavesUpdate, Rows
from fnopt.core.warn import warn_deprecated


def _one_seed(transform: Any) -> None:
    """Replaces ``key`` by the deprecated ``seed``."""
    if transform.seed is None:
        return
    if transform.key is not None:
        raise ValueError(f"{type(transform).__name__}: give key or seed, not both")
    warn_deprecated('"seed" is deprecated, use "key".')
    object.__setattr__(transform, "key", transform.seed)
    object.__setattr__(transform, "seed", None)


class add_noise(Joint):
    r"""Adds normal noise whose variance falls with the count.

    .. math:: u_t = g_t + \sigma_t\,z_t, \qquad z_t \sim \mathcal N(0, 1), \qquad
        \sigma_t^2 = \eta / t^\gamma

    the first update being :math:`t = 1`. Every leaf draws from a separate key. The draws have
    the precision of the computation, float32 at least, and are rounded with the sum.

    Args:
        eta: variance of the noise in the first update, :math:`\eta \ge 0`.
        gamma: power of the count by which the variance falls, :math:`\gamma \ge 0`.
        key: seed of the noise, an integer or a key; 0 if None. The state keeps its words.
        seed: the same by its old name; deprecated.

    Raises:
        ValueError: both ``key`` and ``seed`` are given.

    When:
        Before an optimizer, to get out of bad starts of very deep networks.

    References:
        Neelakantan et al., *Adding gradient noise improves learning for very deep networks*, 2015,
        arXiv:1511.06807, eqs. 1 and 2.
    """

    eta: NonNegative
    gamma: NonNegative
    key: Seed = None
    _: dataclasses.KW_ONLY
    seed: Seed = None

    State = optax.AddNoiseState
    shared = ("rng_key",)
    leafwise = True
    alike = False  # each leaf draws from a separate key

    def __post_init__(self) -> None:
        super().__post_init__()
        _one_seed(self)
        if hasattr(self.key, "dtype"):
            # The numbers of a transform are cast to the leaves' precision, which a key has not.
            object.__setattr__(self, "key", as_key(self.key))

    def init_shared(self, params: Arrays) -> dict[str, Any]:
        return {"rng_key": as_key(0 if self.key is None else self.key)}

    def update_leaves(
        self, grads: Arrays, slots: Rows, params: Any, shared: Any, ctx: Context, **extra_args: Any
    ) -> LeavesUpdate:
        key, own = jax.random.split(shared["rng_key"])
        deviation = root(self.eta / ctx.t**self.gamma)
        directions = [
            g + deviation * jax.random.normal(k, g.shape, g.dtype)
            for g, k in zip(grads, jax.random.split(own, len(grads)), strict=True)
        ]
        return directions, [{} for _ in grads], {"rng_key": key}


class noisy_sgd(Composed):
    r"""Gradient descent with noise that fades.

    .. math:: \Delta\theta_t = -\alpha_t\,(g_t + \sigma_t\,z_t), \qquad
        z_t \sim \mathcal N(0, 1), \qquad \sigma_t^2 = \eta / t^\gamma

    Args:
        learning_rate: learning rate :math:`\alpha \ge 0`.
        eta: variance of the noise in the first update, :math:`\eta \ge 0`; 0.01, 0.3 or 1 in the
            paper.
        gamma: power of the count by which the variance falls, :math:`\gamma \ge 0`.
        key: seed of the noise, an integer or a key; 0 if None.
        seed: the same by its old name; deprecated.

    Raises:
        ValueError: both ``key`` and ``seed`` are given.

    When:
        Very deep or badly initialized networks; well initialized ones gain little.

    References:
        Neelakantan et al., *Adding gradient noise improves learning for very deep networks*, 2015,
        arXiv:1511.06807, eqs. 1 and 2.
    """

    learning_rate: Rate
    eta: NonNegative = 0.01
    gamma: NonNegative = 0.55
    key: Seed = None
    _: dataclasses.KW_ONLY
    seed: Seed = None
    family = "gradient_descent"
    usual_rate = 0.1

    def __post_init__(self) -> None:
        super().__post_init__()
        _one_seed(self)

    def parts(self) -> tuple[Transform, ...]:
        return (
            add_noise(self.eta, self.gamma, self.key),
            scale_by_learning_rate(self.learning_rate),
        )
