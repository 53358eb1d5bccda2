"""The spectrum of a matrix of curvature along a run."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np

from fnopt.core.checks import brief, integer, positive_integer
from fnopt.core.prng import typed_key
from fnopt.core.recorder import EpochRecorder
from fnopt.curvature.linear_operator import LinearOperator
from fnopt.curvature.spectral_density import SpectralDensity, spectral_density


class SpectrumRecord(NamedTuple):
    """The spectrum after an epoch, in NumPy's arrays.

    Attributes:
        epoch: the number of the epoch, 0 for the start.
        step: the number of steps made.
        largest: the largest eigenvalues, the largest first.
        smallest: the smallest eigenvalues, the smallest first.
        density: the density of all eigenvalues.
    """

    epoch: int
    step: int
    largest: np.ndarray
    smallest: np.ndarray
    density: SpectralDensity


class SpectrumRecorder(EpochRecorder):
    """Computes the spectrum of a matrix at a train state, every few epochs of a run.

    It is a callback: ``fit(…, callbacks=[recorder])``. All records are computed by one program, by
    :func:`spectral_density`, and ``recorder.plot()`` draws them. A recorder is for one
    run, which may be ended and resumed.

    Args:
        matrix: ``matrix(state)``, a function of the train state that returns a
            :class:`LinearOperator`, traced once; such as ``lambda state:
            hessian(evaluation_on(task, state, batch), state.params)``.
        every: the number of epochs from one record to the next, above 0.
        key: a PRNG key, or an integer to make one, for random vectors, the same in all records.
        steps: the number of steps of Lanczos' method, above 0.
        samples: the number of random vectors for the density, above 0.
        largest: the number of largest eigenvalues in a record, those of the first vector.
        smallest: the number of smallest ones.

    Attributes:
        records: a list of :class:`SpectrumRecord`.

    >>> import numpy as np
    >>> import fnopt
    >>> from fnopt.curvature import SpectrumRecorder, hessian
    >>> from fnopt.train import evaluation_on, fit, objective
    >>> task = objective(lambda w, x: w[0] * w[1] * x, "squared_error", params=np.ones(2, "f4"))
    >>> data = np.ones(8, np.float32), np.full(8, 2, np.float32)
    >>> recorder = SpectrumRecorder(
    ...     lambda state: hessian(evaluation_on(task, state, data), state.params), every=2
    ... )
    >>> result = fit(task, fnopt.sgd(0.1), data, epochs=4, batch_size=4, callbacks=[recorder])
    >>> [(record.epoch, record.step) for record in recorder.records]
    [(2, 4), (4, 8)]
    """

    def __init__(
        self,
        matrix: Callable[[Any], LinearOperator],
        *,
        every: int = 1,
        key: Any = 0,
        steps: int = 64,
        samples: int = 4,
        largest: int = 1,
        smallest: int = 1,
    ) -> None:
        if not callable(matrix):
            raise TypeError(
                "SpectrumRecorder: matrix must be a function of a train state that returns a"
                f" LinearOperator, got {brief(matrix)} ({type(matrix).__name__})"
            )
        super().__init__(every)
        name = "SpectrumRecorder"
        steps = positive_integer(f"{name}: steps", steps)
        samples = positive_integer(f"{name}: samples", samples)
        self._largest = integer(f"{name}: largest", largest, least=0)
        self._smallest = integer(f"{name}: smallest", smallest, least=0)
        self._key = typed_key(key)

        def density(state: Any, key: jax.Array) -> SpectralDensity:
            return spectral_density(matrix(state), key, steps, samples)

        self._density = jax.jit(density)

    def measure(self, state: Any, epoch: int, step: int) -> SpectrumRecord:
        """The spectrum at a state, as a record.

        Args:
            state: the train state.
            epoch: the number of the epoch.
            step: the number of steps taken.
        """
        density: Any = jax.tree.map(np.asarray, self._density(state, self._key))
        values = density.nodes[0]
        smallest, largest = values[: self._smallest], values[::-1][: self._largest]
        return SpectrumRecord(epoch, step, largest, smallest, density)

    def plot(self, path: str | os.PathLike | None = None, title: str = "") -> Any:
        """Draws the records: extreme eigenvalues and density by epoch, and the density at some.

        The axis of eigenvalues is linear around 0 and logarithmic beyond. The color is the share of
        eigenvalues in a unit of that axis.

        Args:
            path: path of the picture; not saved if None.
            title: title above it.

        Returns:
            The matplotlib figure.

        Raises:
            ImportError: matplotlib is not installed.
            ValueError: nothing is recorded yet.
        """
        from fnopt.curvature.spectrum_picture import plot_spectra

        self.check_recorded("plot")
        return plot_spectra(self.records, path, title)
