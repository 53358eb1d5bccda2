"""The estimate of a gradient noise scale: its value, its uncertainty, what it suggests."""

from __future__ import annotations

import dataclasses
import math
import os
from typing import Any

import numpy as np

from fnopt.lab.noise import GradientNoise, unbiased

_Z = 1.959964
"""The 97.5 % quantile of the normal distribution."""


@dataclasses.dataclass(frozen=True, eq=False)
class NoiseScale:
    """An estimate of the simple noise scale.

    Attributes:
        noise: the estimates that it is the quotient of, a :class:`fnopt.lab.GradientNoise`.
        scale: the noise scale, a number of examples; NaN where the gradient is not resolved.
        error: its standard error; NaN where ``scale`` is.
        interval: a 95 % confidence interval of it. The upper end is inf where the gradient cannot
            be told from 0.
        batch_size: the suggested batch size, the power of two that is nearest to ``scale``, at most
            the number of examples; None where ``scale`` is NaN.
        reason: why this batch size is suggested, or none.
        batch_sizes: the batch sizes that were measured, shape (sizes,).
        squared_norms: the mean squared norm of the gradient of a batch of each size.
        squared_norm_errors: the standard errors of these means.
    """

    noise: GradientNoise
    scale: float
    error: float
    interval: tuple[float, float]
    batch_size: int | None
    reason: str
    batch_sizes: np.ndarray
    squared_norms: np.ndarray
    squared_norm_errors: np.ndarray

    def plot(
        self,
        *,
        title: str = "",
        theme: str = "light",
        path: str | os.PathLike | None = None,
        axes: Any = None,
    ) -> Any:
        """Draws the squared norm of a batch's gradient against the batch size.

        The line is what the estimate says of it, the noise scale where it is twice that of the
        gradient itself.

        Args:
            title: title above it.
            theme: ``"light"`` or ``"dark"``.
            path: path of the picture; not saved if None.
            axes: matplotlib's axes to draw on; those of a new figure if None.

        Returns:
            The figure, which a notebook shows.

        Raises:
            ImportError: matplotlib is not installed.
            ValueError: the gradient is not resolved.
        """
        from fnopt.sweeps.noise_scale_picture import plot_noise_scale

        return plot_noise_scale(self, title, theme, path, axes)

    def __repr__(self) -> str:
        low, high = self.interval
        return (
            f"NoiseScale(scale={self.scale:.4g}, 95 % in [{low:.4g}, {high:.4g}],"
            f" batch_size={self.batch_size}: {self.reason})"
        )


def noise_scale_result(
    squares: np.ndarray, products: np.ndarray, sizes: tuple[int, ...], examples: int
) -> NoiseScale:
    """The estimate from what was measured.

    Args:
        squares: squared norms of the gradients of batches, shape (batches, sizes); that of a larger
            batch is in the row of the last of its parts.
        products: products of the smallest batches' gradients with their sum, shape (batches,).
        sizes: the batch sizes.
        examples: the number of examples.
    """
    number, small = len(squares), sizes[0]
    norms, of_sum = squares[:, 0], products.sum()
    squared_norm, trace = unbiased(norms.mean(), of_sum / number**2, small, number * small)
    noise = GradientNoise(float(squared_norm), float(trace))
    # The same of all batches but one: |S - g|^2 = |S|^2 - 2 S.g + |g|^2.
    others = number - 1
    left_out = np.full((2, number), np.nan)
    if others > 1:
        of_others = (of_sum - 2 * products + norms) / others**2
        means = (norms.sum() - norms) / others
        left_out = np.stack(unbiased(means, of_others, small, others * small))
    deviations = left_out - left_out.mean(1, keepdims=True)
    covariance = deviations @ deviations.T * others / number
    error, interval = _uncertainty(noise, covariance)
    suggested, reason = _suggestion(noise.scale, examples)
    means, errors = [], []
    for place, each in enumerate(sizes):
        ratio = each // small
        whole = squares[ratio - 1 :: ratio, place]
        means.append(whole.mean())
        errors.append(whole.std(ddof=1) / math.sqrt(len(whole)))
    return NoiseScale(
        noise, noise.scale, error, interval, suggested, reason,
        np.array(sizes), np.array(means), np.array(errors),
    )  # fmt: skip


def _uncertainty(noise: GradientNoise, covariance: np.ndarray) -> tuple[float, tuple[float, float]]:
    """The standard error of the scale, and its interval by Fieller's theorem.

    Args:
        noise: the estimates.
        covariance: the covariance of squared norm and trace, in this order, shape (2, 2).
    """
    s, t = noise
    (ss, st), (_, tt) = covariance.tolist()
    if not np.isfinite(covariance).all():  # two batches leave one
        return float("nan"), (0.0, float("inf"))
    error = float("nan")
    if s > 0:
        error = math.sqrt(max(tt - 2 * noise.scale * st + noise.scale**2 * ss, 0.0)) / s
    # The scales r at which t - r s is not further from 0 than so many of its standard errors.
    a, b, c = s**2 - _Z**2 * ss, s * t - _Z**2 * st, t**2 - _Z**2 * tt
    root = math.sqrt(max(b**2 - a * c, 0.0))
    if a > 0 and s > 0:
        return error, (max((b - root) / a, 0.0), max((b + root) / a, 0.0))
    if a < 0 < c:  # the gradient cannot be told from 0, the noise can
        return error, ((b - root) / a, float("inf"))
    return error, (0.0, float("inf"))


def _suggestion(scale: float, examples: int) -> tuple[int | None, str]:
    if math.isnan(scale):
        return None, (
            "the gradient is smaller than the noise of its estimate; give more data or other"
            " parameters"
        )
    nearest = 2 ** round(math.log2(max(scale, 1.0)))
    if nearest > examples:
        return examples, f"all {examples} examples, fewer than the noise scale"
    return nearest, (
        "the power of two nearest to the noise scale, where a run needs about twice the fewest"
        " steps and twice the fewest examples"
    )
