"""The result of a learning rate range test: what it suggests, and why."""

from __future__ import annotations

import dataclasses
import math
import os
from typing import Any

import numpy as np


@dataclasses.dataclass(frozen=True, eq=False)
class RangeTest:
    """The losses at growing learning rates.

    Attributes:
        rates: the rates, shape (steps,).
        losses: the loss of the batch after the step with each rate; NaN after the growth has ended.
        smoothed: their centred average, in which a loss above :attr:`ceiling` counts as that; NaN
            where the loss is.
        suggestion: the suggested learning rate: the smaller of ``steepest`` and ``tenth``. None if
            the loss falls at no rate by more than its noise.
        steepest: the rate at which the smoothed loss falls most for a factor of the rate; NaN
            without a suggestion.
        tenth: a tenth of the rate at which the smoothed loss is smallest; NaN without a suggestion.
        reason: why this rate is suggested, or none.
    """

    rates: np.ndarray
    losses: np.ndarray
    smoothed: np.ndarray
    suggestion: float | None
    steepest: float
    tenth: float
    reason: str

    @property
    def ceiling(self) -> float:
        """A loss so far above those of the beginning that it does not matter how far.

        It is half as far above the largest of the first quarter as that is above the smallest of
        all. Without it the last losses of a run that diverges would hide those before them.
        """
        return ceiling_of(self.losses)

    def plot(
        self,
        *,
        title: str = "",
        theme: str = "light",
        path: str | os.PathLike | None = None,
        axes: Any = None,
    ) -> Any:
        """Draws the loss against the learning rate, with the suggestion marked.

        Args:
            title: title above it.
            theme: ``"light"`` or ``"dark"``.
            path: path of the picture; not saved if None.
            axes: matplotlib's axes to draw on; those of a new figure if None.

        Returns:
            The figure, which a notebook shows.

        Raises:
            ImportError: matplotlib is not installed.
            ValueError: no loss is finite.
        """
        from fnopt.sweeps.range_test_picture import plot_range_test

        return plot_range_test(self, title, theme, path, axes)

    def __repr__(self) -> str:
        suggestion = "None" if self.suggestion is None else f"{self.suggestion:.3g}"
        return (
            f"RangeTest({np.isfinite(self.losses).sum()} losses at rates from {self.rates[0]:.3g}"
            f" to {self.rates[-1]:.3g}, suggestion={suggestion}: {self.reason})"
        )


def range_test_result(rates: np.ndarray, losses: np.ndarray, smoothing: float) -> RangeTest:
    """The result of these losses.

    Args:
        rates: the rates, shape (steps,).
        losses: the losses, shape (steps,); NaN after the growth has ended.
        smoothing: standard deviation of the Gaussian weights, in steps; 0 for no smoothing.
    """
    # A comparison with NaN is false.
    capped = np.where(losses > ceiling_of(losses), ceiling_of(losses), losses)
    smoothed = smoothed_losses(capped, smoothing)
    nan = float("nan")
    lowest = int(np.nanargmin(smoothed)) if np.isfinite(smoothed).any() else 0
    before = slice(0, lowest + 1)
    if not _falls(losses[before], smoothed[before], smoothing):
        reason = (
            f"the loss falls at no rate from {rates[0]:.3g} on by more than its noise; try a lower"
            " `low`, more `steps` or a larger `batch_size`"
        )
        return RangeTest(rates, losses, smoothed, None, nan, nan, reason)
    slopes = np.gradient(smoothed[before], np.log(rates[before]))
    # On a straight line rounding must not choose: of equal slopes the last.
    steepest = float(rates[np.flatnonzero(slopes <= (1 - 1e-6) * slopes.min())[-1]])
    tenth = float(rates[lowest] / 10)
    if steepest <= tenth:
        reason = (
            "the loss falls most steeply there; a tenth of the rate of the lowest loss,"
            f" {tenth:.3g}, is larger"
        )
    else:
        reason = (
            "a tenth of the rate of the lowest loss, at which steps are nearly too long; the loss"
            f" falls most steeply at {steepest:.3g}, too close to it"
        )
    if lowest == len(rates) - 1:
        reason += "; the loss still falls at the last rate, so try a higher `high`"
    return RangeTest(rates, losses, smoothed, min(steepest, tenth), steepest, tenth, reason)


def ceiling_of(losses: np.ndarray) -> float:
    """See :attr:`RangeTest.ceiling`; NaN if no loss is finite."""
    finite = losses[np.isfinite(losses)]
    if not len(finite):
        return float("nan")
    low, first = finite.min(), finite[: max(1, len(losses) // 4)].max()
    return float(low + 1.5 * max(first - low, 0.1 * abs(low)))


def _falls(losses: np.ndarray, smoothed: np.ndarray, smoothing: float) -> bool:
    """Whether losses up to the smallest fall by more than noise and rounding can.

    Args:
        losses: the losses, shape (steps,).
        smoothed: their average, shape (steps,).
        smoothing: standard deviation of its weights.
    """
    if len(losses) < 2:
        return False
    noise = np.median(np.abs(np.diff(losses))) / (0.6745 * math.sqrt(2))  # of a normal one
    # That of the average; the range of a hundred draws is about five standard deviations.
    noise /= math.sqrt(max(1.0, 2 * math.sqrt(math.pi) * smoothing))
    fall = smoothed.max() - smoothed[-1]
    return bool(fall > 5 * noise * (smoothing > 0) + 1e-5 * abs(smoothed[-1]))


def smoothed_losses(losses: np.ndarray, smoothing: float) -> np.ndarray:
    """The average of each loss and its neighbours, with Gaussian weights.

    A loss that is not finite has no weight, and no average.

    Args:
        losses: the losses, shape (steps,).
        smoothing: standard deviation of the weights, in steps; 0 for the losses themselves.
    """
    finite = np.isfinite(losses)
    if smoothing == 0:
        return np.where(finite, losses, np.nan)
    at = np.arange(len(losses))
    weights = np.exp(-0.5 * ((at[:, None] - at[None]) / smoothing) ** 2) * finite[None]
    totals = weights @ np.where(finite, losses, 0.0)
    return np.where(finite, totals / np.maximum(weights.sum(1), 1e-300), np.nan)
