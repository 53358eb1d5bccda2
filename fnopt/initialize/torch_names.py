r"""The initializers of torch.nn.init under its names, with its arguments, defaults and laws.

They have no tensor among their arguments, and return an initializer:
``init.xavier_uniform_(w, gain=2.0)`` of torch is ``initialize.xavier_uniform_(gain=2.0)(key,
shape)``. Nothing is changed in place; the underscore says that the arguments are torch's, since jax
has ``xavier_uniform`` and ``kaiming_normal`` with others: without a gain, and with a normal
distribution that is truncated. :math:`n` is counted in a kernel (…, in, out), as in Flax.

References:
    torch.nn.init; Glorot & Bengio, *Understanding the difficulty of training deep feedforward
    neural networks*, AISTATS 2010, eq. 16; He, Zhang, Ren & Sun, *Delving deep into rectifiers*,
    ICCV 2015, arXiv:1502.01852, eqs. 10, 14; Saxe, McClelland & Ganguli, *Exact solutions to the
    nonlinear dynamics of learning in deep linear neural networks*, ICLR 2014, arXiv:1312.6120.
"""

from __future__ import annotations

import math
from typing import Any

import jax
import jax.numpy as jnp
from jax.nn import initializers
from jax.nn.initializers import Initializer

from fnopt.core.checks import did_you_mean
from fnopt.initialize.dirac import dirac
from fnopt.initialize.gain import GAINS, checked
from fnopt.initialize.identity_kernel import identity
from fnopt.initialize.sparse import sparse


def uniform_(a: float = 0.0, b: float = 1.0) -> Initializer:
    """A uniform distribution in [a, b).

    Args:
        a, b: the bounds, finite, ``a`` not above ``b``.

    Raises:
        TypeError, ValueError: a bound is no finite number, or ``a`` lies above ``b``.
    """
    low, high = checked("uniform_: a", a), checked("uniform_: b", b)
    if low > high:
        raise ValueError(f"uniform_: a must not lie above b, got a={a!r}, b={b!r}")

    def init(key: Any, shape: Any, dtype: Any = None, out_sharding: Any = None) -> jax.Array:
        dtype = float if dtype is None else dtype
        return jax.random.uniform(key, shape, dtype, low, high, out_sharding=out_sharding)

    return init


def normal_(mean: float = 0.0, std: float = 1.0) -> Initializer:
    """A normal distribution.

    Args:
        mean: the mean, finite.
        std: the standard deviation, at least 0.

    Raises:
        TypeError, ValueError: an argument is no number in its range.
    """
    mean, std = checked("normal_: mean", mean), _spread("normal_: std", std)

    def init(key: Any, shape: Any, dtype: Any = None, out_sharding: Any = None) -> jax.Array:
        dtype = jnp.result_type(float if dtype is None else dtype)
        drawn = jax.random.normal(key, shape, dtype, out_sharding=out_sharding)
        return jnp.asarray(mean, dtype) + jnp.asarray(std, dtype) * drawn

    return init


def trunc_normal_(
    mean: float = 0.0, std: float = 1.0, a: float = -2.0, b: float = 2.0
) -> Initializer:
    """A normal distribution, drawn again until the number lies in [a, b].

    Args:
        mean: the mean before truncation, finite.
        std: the standard deviation before truncation, above 0; after it the deviation is smaller.
        a, b: the bounds of the numbers themselves, finite, ``a`` below ``b``; those of jax's
            ``truncated_normal`` are in standard deviations.

    Raises:
        TypeError, ValueError: an argument is no number in its range.
    """
    mean, std = checked("trunc_normal_: mean", mean), _spread("trunc_normal_: std", std)
    low, high = checked("trunc_normal_: a", a), checked("trunc_normal_: b", b)
    if std == 0:
        raise ValueError("trunc_normal_: std must lie in (0, inf), got 0.0")
    if low >= high:
        raise ValueError(f"trunc_normal_: a must lie below b, got a={a!r}, b={b!r}")

    def init(key: Any, shape: Any, dtype: Any = None, out_sharding: Any = None) -> jax.Array:
        dtype = jnp.result_type(float if dtype is None else dtype)
        drawn = jax.random.truncated_normal(
            key, (low - mean) / std, (high - mean) / std, shape, dtype, out_sharding=out_sharding
        )
        return jnp.asarray(mean, dtype) + jnp.asarray(std, dtype) * drawn

    return init


def constant_(val: float) -> Initializer:
    """One number everywhere.

    Args:
        val: the number, finite.

    Raises:
        TypeError, ValueError: it is no finite number.
    """
    return initializers.constant(checked("constant_: val", val))


def ones_() -> Initializer:
    """Ones everywhere."""
    return initializers.ones


def zeros_() -> Initializer:
    """Zeros everywhere."""
    return initializers.zeros


def eye_() -> Initializer:
    """:func:`identity`."""
    return identity()


def dirac_(groups: int = 1) -> Initializer:
    """:func:`dirac`, which is torch's for kernels with odd sides.

    Args:
        groups: the number of groups of channels, at least 1.
    """
    return dirac(groups)


def xavier_uniform_(gain: float = 1.0) -> Initializer:
    r"""Glorot's initializer, uniform.

    .. math:: W \sim U(-r, r), \qquad r = \gamma \sqrt{6 / (n_{\text{in}} + n_{\text{out}})}

    Args:
        gain: :math:`\gamma`, finite; see :func:`calculate_gain`.

    Raises:
        TypeError, ValueError: ``gain`` is no finite number.
    """
    return _scaled(checked("xavier_uniform_: gain", gain), "fan_avg", "uniform")


def xavier_normal_(gain: float = 1.0) -> Initializer:
    r"""Glorot's initializer, normal.

    .. math:: W \sim N(0, \sigma^2), \qquad
        \sigma = \gamma \sqrt{2 / (n_{\text{in}} + n_{\text{out}})}

    Args:
        gain: :math:`\gamma`, finite; see :func:`calculate_gain`.

    Raises:
        TypeError, ValueError: ``gain`` is no finite number.
    """
    return _scaled(checked("xavier_normal_: gain", gain), "fan_avg", "normal")


def kaiming_uniform_(
    a: float = 0.0, mode: str = "fan_in", nonlinearity: str = "leaky_relu"
) -> Initializer:
    r"""He's initializer, uniform.

    .. math:: W \sim U(-r, r), \qquad r = \sqrt{3 / n}\; \gamma

    with the gain :math:`\gamma = \sqrt{2 / (1 + a^2)}` of a leaky rectifier, or that of torch's
    ``calculate_gain``.

    Args:
        a: :math:`a`, the slope of the leaky rectifier below 0, finite; others do not use it.
        mode: the meaning of :math:`n`: ``"fan_in"`` or ``"fan_out"``, in a kernel (…, in, out) the
            size of all axes but the last, or but the one before it.
        nonlinearity: torch's name: ``"leaky_relu"``, ``"relu"``, ``"linear"``, ``"tanh"``, ….

    Returns:
        An initializer; it raises ValueError for a kernel of fewer than two axes.

    Raises:
        TypeError, ValueError: an argument is out of its range.

    >>> import jax
    >>> from fnopt import initialize
    >>> init = initialize.kaiming_uniform_(nonlinearity="relu")
    >>> kernel = init(jax.random.key(0), (600, 50))
    >>> bool(abs(kernel).max() <= 0.1), round(float(kernel.var()), 4)   # 2 / 600
    (True, 0.0033)
    """
    return _kaiming("kaiming_uniform_", a, mode, nonlinearity, "uniform")


def kaiming_normal_(
    a: float = 0.0, mode: str = "fan_in", nonlinearity: str = "leaky_relu"
) -> Initializer:
    r"""He's initializer, normal; unlike jax's it is not truncated.

    .. math:: W \sim N(0, \sigma^2), \qquad \sigma = \gamma / \sqrt{n}

    Args:
        a: :math:`a`, the slope of the leaky rectifier below 0, finite; others do not use it.
        mode: the meaning of :math:`n`: ``"fan_in"`` or ``"fan_out"``.
        nonlinearity: torch's name: ``"leaky_relu"``, ``"relu"``, ``"linear"``, ``"tanh"``, ….

    Raises:
        TypeError, ValueError: an argument is out of its range.
    """
    return _kaiming("kaiming_normal_", a, mode, nonlinearity, "normal")


def orthogonal_(gain: float = 1.0) -> Initializer:
    r"""Orthogonal matrices.

    .. math:: W = \gamma\,Q, \qquad Q^\top Q = 1 \text{ or } Q Q^\top = 1

    Args:
        gain: :math:`\gamma`, finite.

    Raises:
        TypeError, ValueError: ``gain`` is no finite number.
    """
    return initializers.orthogonal(checked("orthogonal_: gain", gain))


def sparse_(sparsity: float, std: float = 0.01) -> Initializer:
    """:func:`sparse` with the zeros counted as in torch: among the outputs of every input.

    Args:
        sparsity: the share of zeros, in [0, 1].
        std: the standard deviation of the other weights, at least 0.
    """
    return sparse(sparsity, std, axis=-1)


def _kaiming(name: str, a: Any, mode: Any, nonlinearity: Any, distribution: Any) -> Initializer:
    slope = checked(f"{name}: a", a)
    if mode not in ("fan_in", "fan_out"):
        raise ValueError(f"{name}: mode must be 'fan_in' or 'fan_out', got {mode!r}")
    if nonlinearity not in GAINS:
        raise ValueError(
            f"{name}: nonlinearity must be one of torch's, got"
            f" {nonlinearity!r}; {did_you_mean(str(nonlinearity), GAINS)}"
        )
    return _scaled(GAINS[nonlinearity](slope), mode, distribution)


def _scaled(gain: float, mode: Any, distribution: Any) -> Initializer:
    return initializers.variance_scaling(gain**2, mode, distribution)


def _spread(argument: str, value: Any) -> float:
    if checked(argument, value) < 0:
        raise ValueError(f"{argument} must lie in [0, inf), got {value!r}")
    return math.fabs(value)
