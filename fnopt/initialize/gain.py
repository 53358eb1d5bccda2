r"""The scale of weights that suits the nonlinearity between layers."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.nn.initializers import Initializer, variance_scaling

from fnopt.core.checks import did_you_mean

GAINS: dict[str, Callable[[float], float]] = {
    **dict.fromkeys(("linear", "sigmoid"), lambda a: 1.0),
    **{f"conv{t}{n}d": lambda a: 1.0 for t in ("", "_transpose") for n in (1, 2, 3)},
    "tanh": lambda a: 5 / 3,
    "relu": lambda a: math.sqrt(2),
    "leaky_relu": lambda a: math.sqrt(2 / (1 + a**2)),
    "selu": lambda a: 3 / 4,
}
"""torch's gains by nonlinearity; ``a`` is the slope of a leaky one."""

FAN_MODES = ("fan_in", "fan_out", "fan_avg", "fan_geo_avg")
"""The sizes that the variance of weights may be divided by, as jax names them."""


def calculate_gain(nonlinearity: str | Callable[[Any], Any], param: float | None = None) -> float:
    r"""The gain of a nonlinearity: the factor on the weights that suits it.

    For a function :math:`\phi` it is the factor that keeps the variance of the sums :math:`z` that
    enter it at 1 from layer to layer, since then :math:`\operatorname{Var} z' = n
    \operatorname{Var} w\, \mathbb{E}\,\phi(z)^2 = 1`:

    .. math:: \operatorname{Var} w = \gamma^2 / n, \qquad
        \gamma = \bigl(\mathbb{E}_{z \sim N(0, 1)}\,\phi(z)^2\bigr)^{-1/2}

    computed by quadrature. For a name it is torch's number: the same for ``"relu"`` and
    ``"leaky_relu"``, a convention for ``"tanh"`` (5/3, where the formula gives 1.59), ``"sigmoid"``
    (1) and ``"selu"`` (3/4).

    Args:
        nonlinearity: an elementwise function of an array; or torch's name: ``"relu"``,
            ``"leaky_relu"``, ``"tanh"``, ``"selu"``, ``"sigmoid"``, ``"linear"``, ``"conv2d"``, ….
        param: the slope below 0 of ``"leaky_relu"``, finite; 0.01 if None. Others do not use it.

    Returns:
        The gain :math:`\gamma`.

    Raises:
        TypeError: ``nonlinearity`` is neither a name nor a function, or ``param`` is no number.
        ValueError: the name is unknown, ``param`` is not finite, or the function is 0 or not
            finite.

    References:
        He, Zhang, Ren & Sun, *Delving deep into rectifiers*, ICCV 2015, arXiv:1502.01852,
        eqs. 7-10 and 15; torch.nn.init.calculate_gain.

    >>> import jax
    >>> from fnopt import initialize
    >>> gain = initialize.calculate_gain
    >>> round(gain("relu"), 4), round(gain(jax.nn.relu), 4), round(gain(jax.nn.gelu), 4)
    (1.4142, 1.4142, 1.5336)
    """
    slope = checked("calculate_gain: param", 0.01 if param is None else param)
    if isinstance(nonlinearity, str):
        if nonlinearity not in GAINS:
            raise ValueError(
                "calculate_gain: nonlinearity must be one of torch's, got"
                f" {nonlinearity!r}; {did_you_mean(nonlinearity, GAINS)}; of any other give the"
                " function itself, as jax.nn.gelu"
            )
        return GAINS[nonlinearity](slope)
    if not callable(nonlinearity):
        raise TypeError(
            "calculate_gain: nonlinearity must be a name or a function, got"
            f" {nonlinearity!r} ({type(nonlinearity).__name__})"
        )
    # The trapezoidal rule, whose error for a bell curve is below that of float32; a rectifier's
    # kink lies on a node. The function is the user's, hence in jax's usual mode and float32.
    z = np.linspace(-12, 12, 4801)
    with jax.ensure_compile_time_eval():
        values = np.asarray(nonlinearity(jnp.asarray(z, jnp.float32)), np.float64)
    moment = float(np.sum(values**2 * np.exp(-(z**2) / 2)) * (z[1] - z[0]) / math.sqrt(2 * math.pi))
    if not (math.isfinite(moment) and moment > 0):
        raise ValueError(
            "calculate_gain: nonlinearity must have a second moment in (0, inf) under a standard"
            f" normal, got {moment!r}"
        )
    return moment**-0.5


def by_activation(
    nonlinearity: str | Callable[[Any], Any],
    param: float | None = None,
    *,
    fan_mode: Any = "fan_in",
    distribution: Any = "truncated_normal",
    in_axis: Any = -2,
    out_axis: Any = -1,
    batch_axis: Any = (),
) -> Initializer:
    r"""An initializer whose variance suits the nonlinearity and the number of inputs or outputs.

    .. math:: \mathbb{E}\,w = 0, \qquad \operatorname{Var} w = \gamma^2 / n

    Args:
        nonlinearity: the nonlinearity whose gain is :math:`\gamma`: a function or a name, as for
            :func:`calculate_gain`.
        param: the slope below 0 of ``"leaky_relu"``; 0.01 if None.
        fan_mode: the meaning of :math:`n`: ``"fan_in"`` keeps the size of the activations,
            ``"fan_out"`` that of the gradients; ``"fan_avg"`` and ``"fan_geo_avg"`` are their
            arithmetic and geometric mean.
        distribution: ``"truncated_normal"`` (at two standard deviations, widened so that the
            variance is that of the formula), ``"normal"`` or ``"uniform"``.
        in_axis: the axis of the inputs, or several; the last but one by default, as in Flax.
        out_axis: the axis of the outputs, or several; the last by default.
        batch_axis: axes that are neither, such as that of a stack of layers; none by default.

    Returns:
        An initializer; it raises ValueError for a kernel of fewer than two axes.

    Raises:
        TypeError, ValueError: as in :func:`calculate_gain`; ``fan_mode`` or ``distribution`` is
            unknown.

    References:
        He, Zhang, Ren & Sun, *Delving deep into rectifiers*, ICCV 2015, arXiv:1502.01852, eq. 15.

    >>> import jax
    >>> from fnopt import initialize
    >>> init = initialize.by_activation("leaky_relu", 0.2, fan_mode="fan_out")
    >>> round(float(init(jax.random.key(0), (50, 600)).var()), 4)   # 2 / (1 + 0.2**2) / 600
    0.0032
    """
    one_of("by_activation: fan_mode", fan_mode, FAN_MODES)
    one_of("by_activation: distribution", distribution, ("truncated_normal", "normal", "uniform"))
    scale = calculate_gain(nonlinearity, param) ** 2
    return variance_scaling(scale, fan_mode, distribution, in_axis, out_axis, batch_axis)


def one_of(argument: str, value: Any, known: tuple[str, ...]) -> None:
    """Raises ValueError if a name is not among the known ones."""
    if value not in known:
        raise ValueError(f"{argument}: no {value!r}; {did_you_mean(str(value), known)}")


def checked(argument: str, value: Any) -> float:
    """A finite number; raises TypeError or ValueError naming the argument."""
    if isinstance(value, bool) or not isinstance(value, (int, float, np.number)):
        raise TypeError(f"{argument} must be a number, got {value!r} ({type(value).__name__})")
    if not math.isfinite(value):
        raise ValueError(f"{argument} must lie in (-inf, inf), got {value!r}")
    return float(value)
