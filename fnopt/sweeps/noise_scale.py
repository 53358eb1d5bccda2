"""The gradient noise scale with its uncertainty, and the batch size that follows from it."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from fnopt.core.checks import brief, positive_integer
from fnopt.core.entry import entry
from fnopt.core.types import Batch, PyTree
from fnopt.data.arrays import size, take
from fnopt.data.numbers import own
from fnopt.lab.noise import batch_gradient, batches_of
from fnopt.sweeps.noise_scale_result import NoiseScale, noise_scale_result
from fnopt.train.arguments import check_objective, check_state
from fnopt.train.data_argument import in_memory
from fnopt.train.kinds import is_result
from fnopt.train.objective import Objective
from fnopt.train.programs import per_objective
from fnopt.train.state import TrainState

_USAGE = "gradient_noise_scale(objective, state, data)"
_NAME = "gradient_noise_scale"
_NO_STEPS = optax.set_to_zero()
"""One for all calls: another one would be another program."""


@entry(_USAGE)
def gradient_noise_scale(
    objective: Objective,
    state: TrainState | PyTree,
    data: Any,
    *,
    batch_sizes: Sequence[int] | None = None,
    key: Any = 0,
    train: bool = False,
) -> NoiseScale:
    r"""The simple noise scale at some parameters with its uncertainty, and a batch size.

    With :math:`G` the gradient and :math:`\Sigma` the covariance of the gradients of examples, the
    gradient :math:`G_b` of a batch of :math:`b` examples has

    .. math:: \operatorname{E}\lVert G_b \rVert^2
                = \lVert G \rVert^2 + \frac{\operatorname{tr}(\Sigma)}{b}, \qquad
              B_\text{simple} = \frac{\operatorname{tr}(\Sigma)}{\lVert G \rVert^2}

    A run at the batch size :math:`B_\text{simple}` needs about twice the fewest steps and twice the
    fewest examples: below it batches of half the size take nearly twice the steps, above it
    batches of twice the size save hardly any. It grows along a run, so estimate it where most of
    the time is spent, not at the initialization.

    Both parts are estimated without bias as in :func:`fnopt.lab.gradient_noise`, from batches of
    the smallest size and all of the data. The uncertainty is that of the jackknife: each batch of
    the smallest size is left out once. The interval is Fieller's of a quotient, which is right also
    where the denominator is uncertain. One program, of two passes over the data.

    Args:
        objective: the objective, whose loss is a mean over examples.
        state: a train state, for its parameters, its model state and its key; or parameters alone,
            for a model without model state or with that of its initialization.
        data: the data, a tree of arrays with examples along the first axis, or
            :class:`fnopt.data.Arrays`, whose examples are drawn by their weights and augmented.
            Examples beyond the last whole batch are left out.
        batch_sizes: batch sizes to measure, ascending, each a multiple of the first, with two
            batches at least. The first is what the estimate is made of: the smaller, the more
            precise. The others show whether the formula holds. None for up to three from 16 on,
            each four times the one before, and smaller ones for fewer than 128 examples.
        key: a PRNG key, or an integer to make one, by which the data are shuffled.
        train: whether the model computes as in training, with dropout and the statistics of each
            batch; otherwise as in evaluation.

    Returns:
        The estimate, a :class:`NoiseScale`.

    Raises:
        TypeError: the objective, the data or a batch size is something else.
        ValueError: there are fewer than two batches of a size, or a size is no multiple of the
            first.

    References:
        McCandlish, Kaplan, Amodei & OpenAI Dota Team, *An empirical model of large-batch training*,
        2018, arXiv:1812.06162, equations 2.9 and 2.11 and appendix A.1; Fieller, *Some problems in
        interval estimation*, Journal of the Royal Statistical Society B 16, 1954.

    >>> import numpy as np
    >>> from fnopt.train import objective
    >>> task = objective(lambda w, x: x * w, "squared_error", params=np.float32(1))
    >>> x = np.ones(4096, np.float32)
    >>> y = np.random.default_rng(0).normal(size=4096).astype("f4")  # the gradients are 2 (w - y)
    >>> found = gradient_noise_scale(task, np.float32(0.75), (x, y))  # noise scale 1 / 0.75**2
    >>> found.interval[0] < 1 / 0.75**2 < found.interval[1], found.batch_size
    (True, 2)
    """
    check_objective(_USAGE, objective)
    arrays = in_memory(_USAGE, data)
    examples = size(arrays.tree)
    sizes = _sizes(batch_sizes, examples)
    if isinstance(state, TrainState) or is_result(state):
        check_state(_USAGE, state)
    else:
        state = _state_of(objective, state, arrays.tree)
    batches = batches_of(_NAME, arrays, sizes[0], key)
    ratios = tuple(number // sizes[0] for number in sizes)
    squares, products = _measured(objective, state, batches, ratios, bool(train))
    return noise_scale_result(
        np.asarray(squares, float), np.asarray(products, float), sizes, examples
    )


def _state_of(objective: Objective, params: PyTree, data: PyTree) -> TrainState:
    """A train state with these parameters."""
    params = own(params, "state")
    start = TrainState.create(objective, _NO_STEPS, 0, take(data, jnp.arange(1)))
    shapes, wanted = (jax.tree.map(jnp.shape, tree) for tree in (params, start.params))
    if shapes != wanted:
        raise ValueError(
            f"{_USAGE}: state must be a train state or parameters like those of the objective, with"
            f" the shapes {brief(wanted, 100)}; it has {brief(shapes, 100)}"
        )
    return start.replace(params=params, opt_state=start.opt_state)


@per_objective(static_argnums=(3, 4))
def _measured(
    objective: Objective,
    state: TrainState,
    batches: Batch,
    ratios: tuple[int, ...],
    train: bool,
) -> tuple[jax.Array, jax.Array]:
    """Squared norms of batches' gradients, and products of the smallest ones' with their sum.

    Args:
        objective: the objective.
        state: the train state.
        batches: the batches of the smallest size, stacked.
        ratios: the sizes as multiples of the smallest; 1 is the first.
        train: whether the model computes as in training.

    Returns:
        Arrays of shape (batches, sizes) and (batches,). The squared norm of a larger batch is in
        the row of the last of its parts.
    """
    number = len(jax.tree.leaves(batches)[0])

    def gradient(batch: Batch) -> PyTree:
        return batch_gradient(objective, state, batch, train)

    def add(sums: Any, item: Any) -> tuple[Any, jax.Array]:
        total, parts = sums
        place, batch = item
        grads = gradient(batch)
        parts = tuple(jax.tree.map(jnp.add, part, grads) for part in parts)
        squares = [
            optax.tree.norm(part, squared=True) / ratio**2
            for part, ratio in zip(parts, ratios, strict=True)
        ]
        parts = tuple(
            jax.tree.map(lambda x, over=(place + 1) % ratio == 0: jnp.where(over, 0, x), part)
            for part, ratio in zip(parts, ratios, strict=True)
        )
        return (jax.tree.map(jnp.add, total, grads), parts), jnp.stack(squares)

    like = jax.eval_shape(gradient, jax.tree.map(lambda x: x[0], batches))
    zeros = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), like)
    (total, _), squares = jax.lax.scan(
        add, (zeros, (zeros,) * len(ratios)), (jnp.arange(number), batches)
    )
    # A second pass instead of all gradients in memory.
    products = jax.lax.map(lambda batch: jnp.real(optax.tree.vdot(gradient(batch), total)), batches)
    return squares, products


def _sizes(batch_sizes: Any, examples: int) -> tuple[int, ...]:
    if batch_sizes is None:
        first = max(1, min(16, examples // 8))
        sizes = (first, 4 * first, 16 * first)
        return tuple(each for each in sizes if each == first or 2 * each <= examples)
    if isinstance(batch_sizes, (int, np.integer)):
        batch_sizes = (batch_sizes,)
    sizes = tuple(positive_integer(f"{_NAME}: batch_sizes", each) for each in batch_sizes)
    if not sizes or any(a >= b or b % sizes[0] for a, b in itertools.pairwise(sizes)):
        raise ValueError(
            f"{_NAME}: batch_sizes must be ascending, each a multiple of the first, such as (16,"
            f" 64), got {sizes}"
        )
    if sizes[-1] // sizes[0] * 2 > examples // sizes[0]:
        raise ValueError(
            f"{_NAME}: {examples} examples are fewer than two batches of {sizes[-1]}; take smaller"
            " batch_sizes"
        )
    return sizes
