"""The noise of gradients of mini-batches along a run."""

from __future__ import annotations

import os
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from fnopt.core import computing_dtype
from fnopt.core.checks import positive_integer
from fnopt.core.moments import cast
from fnopt.core.prng import typed_key
from fnopt.core.recorder import EpochRecorder
from fnopt.core.types import Batch
from fnopt.data.arrays import size, take
from fnopt.train.arguments import check_objective, check_state
from fnopt.train.data_argument import in_memory
from fnopt.train.evaluation_on import evaluation_on
from fnopt.train.objective import Objective
from fnopt.train.state import TrainState


class GradientNoise(NamedTuple):
    """Unbiased estimates of the size of a gradient and of the noise of its examples.

    Attributes:
        squared_norm: the squared norm of the mean gradient, which may come out below 0 where the
            noise of the estimate is larger.
        trace: the trace of the covariance of the gradients of single examples.
    """

    squared_norm: float
    trace: float

    @property
    def scale(self) -> float:
        """The simple noise scale, a number of examples; NaN if ``squared_norm`` is not positive."""
        return self.trace / self.squared_norm if self.squared_norm > 0 else float("nan")


class NoiseRecord(NamedTuple):
    """The noise after an epoch.

    Attributes:
        epoch: the number of the epoch, 0 for the start.
        step: the number of steps taken.
        noise: the estimates.
    """

    epoch: int
    step: int
    noise: GradientNoise


def gradient_noise(
    objective: Objective,
    state: TrainState,
    data: Any,
    *,
    batch_size: int = 16,
    key: Any = 0,
    train: bool = False,
) -> GradientNoise:
    r"""The size of the gradient and its noise at a train state.

    The simple noise scale

    .. math:: B_\text{simple} = \frac{\operatorname{tr}(\Sigma)}{\lVert G \rVert^2}

    is the batch size at which the noise of a batch's gradient is as large as the gradient :math:`G`
    (:math:`\Sigma` is the covariance of the gradients of examples): far below it a batch twice as
    large makes nearly twice the progress in a step, far above it hardly more.

    The data are divided into batches of :math:`b` examples; :math:`B` is the number of examples in
    all of them, :math:`G_b` the gradient of one and :math:`G_B` their mean. Then

    .. math::
        \lVert G \rVert^2 \approx
            \frac{B \lVert G_B \rVert^2 - b\,\overline{\lVert G_b \rVert^2}}{B - b}, \qquad
        \operatorname{tr}(\Sigma) \approx
            \frac{\overline{\lVert G_b \rVert^2} - \lVert G_B \rVert^2}{1/b - 1/B}

    These are unbiased if the examples are drawn independently. The estimate costs one pass over the
    data, forward and backward.

    Args:
        objective: the objective, whose loss is a mean over examples.
        state: a train state, for its parameters, its model state and its key.
        data: the data, a tree of arrays with examples along the first axis, or
            :class:`fnopt.data.Arrays`, whose examples are drawn by their weights and augmented.
            Examples beyond the last whole batch are left out.
        batch_size: :math:`b`, the number of examples of a batch; there must be two batches at
            least. Small batches give the better estimate; a model that normalizes by the statistics
            of a batch needs some dozens.
        key: a PRNG key, or an integer to make one, by which the data are shuffled.
        train: whether the model computes as in training, with dropout and the statistics of each
            batch; otherwise as in evaluation.

    Returns:
        The estimates.

    Raises:
        TypeError: the objective, the state or the data are something else.
        ValueError: there are fewer than two batches.

    References:
        McCandlish, Kaplan, Amodei & OpenAI Dota Team, *An empirical model of large-batch training*,
        2018, arXiv:1812.06162, equation 2.9 and appendix A.1.

    >>> import numpy as np
    >>> import fnopt
    >>> from fnopt.lab import gradient_noise
    >>> from fnopt.train import TrainState, objective
    >>> task = objective(lambda w, x: x * w, "squared_error", params=np.float32(1))
    >>> state = TrainState.create(task, fnopt.sgd(0.1), key=0)
    >>> x = np.ones(1000, np.float32)
    >>> y = np.random.default_rng(0).normal(size=1000).astype("f4")  # the gradients are 2 (w - y)
    >>> noise = gradient_noise(task, state, (x, y), batch_size=1)
    >>> bool(abs(noise.trace - 4 * np.var(y, ddof=1)) < 1e-3)
    True
    """
    check_objective("gradient_noise(objective, state, data)", objective)
    check_state("gradient_noise(objective, state, data)", state)
    batches = batches_of("gradient_noise", data, batch_size, key)
    return _estimates(_norms(objective, train)(state, batches), batches)


def batches_of(caller: str, data: Any, batch_size: int, key: Any) -> Batch:
    """The data in batches along the first axis.

    Args:
        caller: the public function, for errors.
        data: the data, a tree of arrays with examples along the first axis, or
            :class:`fnopt.data.Arrays`, whose examples are drawn by their weights and augmented.
        batch_size: the number of examples of a batch.
        key: a PRNG key, or an integer to make one, by which the data are shuffled.

    Raises:
        TypeError: the data are a stream of batches.
        ValueError: there are fewer than two batches.
    """
    arrays = in_memory(f"{caller}(…, data)", data)
    batch_size = positive_integer(f"{caller}: batch_size", batch_size)
    examples, key = size(arrays.tree), typed_key(key)
    number = examples // batch_size
    if number < 2:
        raise ValueError(
            f"{caller}: {examples} examples are {number} batches of {batch_size}; the noise is the"
            " difference between batches, of which there must be two: take a smaller batch_size"
        )
    if getattr(arrays, "weights", None) is None:  # also where a run goes through them in order
        order = jax.random.permutation(key, examples)[: number * batch_size]
        order = order.reshape(number, batch_size)
    else:
        order = arrays.order(key, 0, batch_size)
    if getattr(arrays, "augment", None) is None:
        return take(arrays.tree, order)
    return jax.lax.map(lambda at: arrays.batch(key, *at), (jnp.arange(number), order))


def batch_gradient(objective: Objective, state: TrainState, batch: Batch, train: bool) -> Any:
    """The gradient of a batch at a train state, in single precision at least.

    Args:
        objective: the objective.
        state: the train state.
        batch: the batch.
        train: whether the model computes as in training.
    """
    evaluation: Any = evaluation_on(objective, state, batch, train=train)
    return jax.tree.map(_wide, evaluation.grad(state.params))


def unbiased(of_batches: Any, of_all: Any, small: Any, large: Any) -> tuple[Any, Any]:
    """The estimates of :func:`gradient_noise` from squared norms; numbers or arrays of them.

    Args:
        of_batches: the mean of the squared norms of the gradients of batches.
        of_all: the squared norm of their mean.
        small: the number of examples of a batch.
        large: the number of examples of all batches.

    Returns:
        The squared norm of the gradient, and the trace of the covariance.
    """
    squared_norm = (large * of_all - small * of_batches) / (large - small)
    return squared_norm, (of_batches - of_all) / (1 / small - 1 / large)


def _norms(objective: Objective, train: bool) -> Any:
    """A compiled function of state and batches, for the squared norms of gradients.

    It returns the mean of the squared norms over the batches, and the squared norm of the mean.
    """

    @jax.jit
    def norms(state: TrainState, batches: Batch) -> tuple[jax.Array, jax.Array]:
        def add(total: Any, batch: Batch) -> tuple[Any, jax.Array]:
            grads = batch_gradient(objective, state, batch, train)
            return jax.tree.map(jnp.add, total, grads), optax.tree.norm(grads, squared=True)

        zeros = jax.tree.map(lambda x: jnp.zeros_like(_wide(x)), state.params)
        total, squares = jax.lax.scan(add, zeros, batches)
        mean = jax.tree.map(lambda x: x / len(squares), total)
        return jnp.mean(squares), optax.tree.norm(mean, squared=True)

    return norms


def _wide(x: jax.Array) -> jax.Array:
    """In single precision at least: the estimates are small differences of sums."""
    return cast(x, computing_dtype(x.dtype))


def _estimates(norms: Any, batches: Batch) -> GradientNoise:
    of_batches, of_all = map(float, norms)
    number, small = jax.tree.leaves(batches)[0].shape[:2]
    return GradientNoise(*unbiased(of_batches, of_all, small, number * small))


class GradientNoiseRecorder(EpochRecorder):
    """Estimates the noise of the gradient at the state of a run, every few epochs.

    It is a callback: ``fit(…, callbacks=[recorder])``. All records are computed by one program, as
    :func:`gradient_noise` does, and ``recorder.plot()`` draws them. A recorder is for one run,
    which may be ended and resumed.

    Args:
        objective: the objective that is minimized.
        data: the data, as of :func:`gradient_noise`: those of training, or a part of them.
        every: the number of epochs from one record to the next, above 0.
        batch_size: the number of examples of the batches that are compared.
        key: a PRNG key, or an integer to make one, by which the data are shuffled.
        train: whether the model computes as in training.

    Attributes:
        records: a list of :class:`NoiseRecord`.

    Raises:
        TypeError: the objective or the data are something else.
        ValueError: there are fewer than two batches.
    """

    def __init__(
        self,
        objective: Objective,
        data: Any,
        *,
        every: int = 1,
        batch_size: int = 16,
        key: Any = 0,
        train: bool = False,
    ) -> None:
        super().__init__(every)
        name = "GradientNoiseRecorder"
        check_objective(f"{name}(objective, data)", objective)
        self._batches = batches_of(name, data, batch_size, key)
        self._norms = _norms(objective, train)

    def measure(self, state: TrainState, epoch: int, step: int) -> NoiseRecord:
        """The noise at a state, as a record.

        Args:
            state: the train state.
            epoch: the number of the epoch.
            step: the number of steps taken.
        """
        noise = _estimates(self._norms(state, self._batches), self._batches)
        return NoiseRecord(epoch, step, noise)

    def plot(
        self,
        *,
        batch_size: int | None = None,
        title: str = "",
        theme: str = "light",
        path: str | os.PathLike | None = None,
    ) -> Any:
        """Draws the noise scale by epoch, and below it what it is made of.

        Args:
            batch_size: the batch size of the run, drawn as a line; no line if None.
            title: title above it.
            theme: ``"light"`` or ``"dark"``.
            path: path of the picture; not saved if None.

        Returns:
            The figure, which a notebook shows.

        Raises:
            ImportError: matplotlib is not installed.
            ValueError: nothing is recorded yet, or no gradient is resolved.
        """
        from fnopt.lab.noise_picture import plot_noise

        self.check_recorded("plot")
        return plot_noise(self.records, batch_size, title, theme, path)
