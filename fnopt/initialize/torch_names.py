r"""The names of torch.nn.init, with its arguments, defaults and laws.

The tensor is left out, and what comes back is an initializer: ``init.xavier_uniform_(w, gain=2.0)``
of torch is ``initialize.xavier_uniform_(gain=2.0)(key, shape)``. Nothing is changed in place; the
underscore says whose arguments these are, since jax has ``xavier_uniform`` and ``kaiming_normal``
with others: without a gain, and with a normal distribution that is truncated. :math:`n` is counted
in a kernel (…, in, out), as Flax holds it.

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
    """Uniform in [a, b).

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
    """Normal.

    Args:
        mean: finite.
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
    """Normal, drawn again until it lies in [a, b].

    Args:
        mean: finite, before truncation.
        std: the standard deviation before truncation, above 0; that of what is drawn is smaller.
        a, b: the bounds, of the numbers themselves; those of jax's ``truncated_normal`` are in
            standard deviations. Finite, ``a`` below ``b``.

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
    """:func:`dirac`, of kernels with odd sides.

    Args:
        groups: as there.
    """
    return dirac(groups)


def xavier_uniform_(gain: float = 1.0) -> Initializer:
    r"""Glorot's, uniform.

    .. math:: W \sim U(-r, r), \qquad r = \gamma \sqrt{6 / (n_{\text{in}} + n_{\text{out}})}

    Args:
        gain: :math:`\gamma`, finite; see :func:`calculate_gain`.

    Raises:
        TypeError, ValueError: ``gain`` is no finite number.
    """
    return _scaled(checked("xavier_uniform_: gain", gain), "fan_avg", "uniform")


def xavier_normal_(gain: float = 1.0) -> Initializer:
    r"""Glorot's, normal.

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
    r"""He's, uniform.

    .. math:: W \sim U(-r, r), \qquad r = \sqrt{3 / n}\; \gamma

    with the gain :math:`\gamma = \sqrt{2 / (1 + a^2)}` of a leaky rectifier, or as torch's
    ``calculate_gain`` has it. Of a kernel (…, in, out), as Flax holds it.

    Args:
        a: :math:`a`, the slope of the leaky rectifier below 0; finite, unused by the others.
        mode: what :math:`n` is: ``"fan_in"`` or ``"fan_out"``, of a kernel (…, in, out) the size of
            all axes but the last, or but the one before it.
        nonlinearity: as torch names it: ``"leaky_relu"``, ``"relu"``, ``"linear"``, ``"tanh"``, ….

    Raises:
        TypeError, ValueError: an argument is out of its range; of the initializer, a kernel has
            fewer than two axes.

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
    r"""He's, normal, not truncated as jax's is.

    .. math:: W \sim N(0, \sigma^2), \qquad \sigma = \gamma / \sqrt{n}

    Args:
        a, mode, nonlinearity: as of :func:`kaiming_uniform_`.

    Raises:
        TypeError, ValueError: as there.
    """
    return _kaiming("kaiming_normal_", a, mode, nonlinearity, "normal")


def orthogonal_(gain: float = 1.0) -> Initializer:
    r"""Orthogonal: :math:`W = \gamma\,Q`, where :math:`Q^\top Q = 1` or :math:`Q Q^\top = 1`.

    Args:
        gain: :math:`\gamma`, finite.

    Raises:
        TypeError, ValueError: ``gain`` is no finite number.
    """
    return initializers.orthogonal(checked("orthogonal_: gain", gain))


def sparse_(sparsity: float, std: float = 0.01) -> Initializer:
    """:func:`sparse`, the zeros counted as torch counts them: by what an input goes to.

    Args:
        sparsity, std: as there.
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


def _spread(argument: str, given: Any) -> float:
    if checked(argument, given) < 0:
        raise ValueError(f"{argument} must lie in [0, inf), got {given!r}")
    return math.fabs(given)
