"""Trace and diagonal of a matrix known by its products, by Hutchinson's estimator."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from fnopt.core import root, vdot
from fnopt.core.checks import leaves_like, positive_integer
from fnopt.core.entry import entry
from fnopt.core.prng import typed_key
from fnopt.core.types import PyTree
from fnopt.curvature.linear_operator import LinearOperator, as_operator, tree_like
from fnopt.curvature.real_leaves import from_real_leaves, real_leaves, real_product
from fnopt.first_order.hutchinson import random_signs


class Estimate(NamedTuple):
    """The mean of some samples, with its standard error.

    Attributes:
        value: the mean, a scalar or a tree like the parameters.
        error: the standard error of each element of the mean, of the same structure: the deviation
            between samples over the root of their number; NaN of one sample.
    """

    value: Any
    error: Any


@entry("curvature.hutchinson_trace(operator, key, samples=…)")
def hutchinson_trace(
    operator: LinearOperator, key: Any = None, samples: int = 32, *, probes: PyTree = None
) -> Estimate:
    r"""An estimate of the trace of a symmetric matrix.

    .. math:: \operatorname{tr} A \approx \frac1s \sum_z z^\top A\,z, \qquad z_i = \pm 1

    It is unbiased, and exact where the matrix is diagonal; its variance is
    :math:`2 \sum_{i \ne j} A_{ij}^2 / s`. A sample costs one product.

    Args:
        operator: the matrix :math:`A`, such as :func:`hessian` makes.
        key: a PRNG key, or an integer to make one, for the signs. Not used with ``probes``.
        samples: the number :math:`s` of random vectors, above 0. Not used with ``probes``.
        probes: vectors of your own instead of random ones, whose mean of :math:`z z^\top` is the
            unit matrix: a tree like the parameters with a new first axis; None draws them.

    Raises:
        TypeError: the operator is none, there are neither a key nor probes, or ``samples`` is no
            integer.
        ValueError: ``samples`` is below 1, or the probes are not like the parameters.

    References:
        Hutchinson, *A stochastic estimator of the trace of the influence matrix for Laplacian
        smoothing splines*, Communications in Statistics 18, 1989, doi:10.1080/03610918908812806.

    >>> import jax.numpy as jnp
    >>> from fnopt import curvature
    >>> matrix = curvature.hessian(lambda x: jnp.sum(x**3), jnp.array([1.0, 2.0]))
    >>> curvature.hutchinson_trace(matrix, key=0)
    Estimate(value=Array(18., dtype=float32), error=Array(0., dtype=float32))
    """
    operator = as_operator("hutchinson_trace", operator)
    vectors, of = _vectors("hutchinson_trace", operator, key, samples, probes)
    product = real_product(operator.product, operator.like)

    def sample(signs: list[jax.Array]) -> list[jax.Array]:
        return [vdot(signs, product(signs))]

    (value,), (error,) = _mean(lambda vector: sample(of(vector)), vectors)
    return Estimate(value, error)


@entry("curvature.hutchinson_diagonal(operator, key, samples=…)")
def hutchinson_diagonal(
    operator: LinearOperator, key: Any = None, samples: int = 32, *, probes: PyTree = None
) -> Estimate:
    r"""An estimate of the diagonal of a symmetric matrix.

    .. math:: \operatorname{diag} A \approx \frac1s \sum_z z \odot A\,z, \qquad z_i = \pm 1

    It is unbiased, and exact where the matrix is diagonal; the variance of element :math:`i` is
    :math:`\sum_{j \ne i} A_{ij}^2 / s`. A sample costs one product. Of a complex parameter the real
    part of the result is the diagonal for the real part, and the imaginary part that for the
    imaginary part. One sample of it is :class:`fnopt.hutchinson_estimator_diag_hessian`.

    Args:
        operator: the matrix :math:`A`, such as :func:`hessian` makes.
        key: a PRNG key, or an integer to make one, for the signs. Not used with ``probes``.
        samples: the number :math:`s` of random vectors, above 0. Not used with ``probes``.
        probes: vectors of your own instead of random ones, whose mean of :math:`z z^\top` is the
            unit matrix: a tree like the parameters with a new first axis; None draws them.

    Raises:
        TypeError: the operator is none, there are neither a key nor probes, or ``samples`` is no
            integer.
        ValueError: ``samples`` is below 1, or the probes are not like the parameters.

    References:
        Bekas, Kokiopoulou & Saad, *An estimator for the diagonal of a matrix*, Applied Numerical
        Mathematics 57, 2007, doi:10.1016/j.apnum.2007.01.003, eq. 1.
    """
    operator = as_operator("hutchinson_diagonal", operator)
    vectors, of = _vectors("hutchinson_diagonal", operator, key, samples, probes)
    product = real_product(operator.product, operator.like)

    def sample(signs: list[jax.Array]) -> list[jax.Array]:
        return [x * sign for x, sign in zip(product(signs), signs, strict=True)]

    value, error = _mean(lambda vector: sample(of(vector)), vectors)
    return Estimate(from_real_leaves(value, operator.like), from_real_leaves(error, operator.like))


def _vectors(
    caller: str, operator: LinearOperator, key: Any, samples: Any, probes: PyTree
) -> tuple[PyTree, Callable[[Any], list[jax.Array]]]:
    """What a loop goes through, and the vector of real arrays that an item of it stands for."""
    if probes is None:
        if key is None:
            raise TypeError(f"{caller}: give a key, such as key=0, or probes")
        like = real_leaves(operator.like)
        keys = jax.random.split(typed_key(key), positive_integer(f"{caller}: samples", samples))
        return keys, lambda key: random_signs(key, like)
    leaves = leaves_like(jax.tree.structure(operator.like), "probes", probes, "the parameters")
    lengths = {jnp.shape(x)[:1] for x in leaves}
    if len(lengths) != 1 or lengths <= {(), (0,)}:
        raise ValueError(
            f"{caller}: probes must have a first axis of one length above 0 besides the parameters'"
            f" axes; the lengths are {', '.join(str(x) for x in sorted(lengths))}"
        )
    stacked = [jnp.asarray(x) for x in leaves]

    def vector(leaves: list[jax.Array]) -> list[jax.Array]:
        tree = jax.tree.structure(operator.like).unflatten(leaves)
        return real_leaves(tree_like("probes", tree, operator.like))

    return stacked, vector


def _mean(
    sample: Callable[[Any], list[jax.Array]], items: PyTree
) -> tuple[list[jax.Array], list[jax.Array]]:
    """The mean of the samples of all items, one after the other, and its standard error."""
    number = len(jax.tree.leaves(items)[0])

    # Welford's sums, which do not cancel.
    def add(carry: Any, item: Any) -> tuple[Any, None]:
        mean, squares, count = carry
        for i, x in enumerate(sample(item)):
            change = x - mean[i]
            moved = mean[i] + change / (count + 1).astype(x.dtype)
            squares[i], mean[i] = squares[i] + change * (x - moved), moved
        return (mean, squares, count + 1), None

    first = jax.tree.map(lambda x: x[0], items)
    zeros = [jnp.zeros(x.shape, x.dtype) for x in jax.eval_shape(sample, first)]
    begin = zeros, list(zeros), jnp.zeros((), jnp.int32)
    (mean, squares, _), _ = jax.lax.scan(add, begin, items)
    if number == 1:
        return mean, [jnp.full_like(x, jnp.nan) for x in mean]
    return mean, [root(x / (number * (number - 1))) for x in squares]
