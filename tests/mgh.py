"""The 35 problems of Moré, Garbow & Hillstrom, as functions of JAX.

*Testing unconstrained optimization software*, ACM Transactions on Mathematical Software 7 (1981),
17-41. The numbers and names of problems are the paper's, and so are data, start points and minima.
Each function is a sum of squares of residuals, not half of it. Where the paper leaves a dimension
open, one is chosen for which it prints the minimum. In number 11 ``y_i m i x_2`` is a misprint for
``y_i - x_2``.
"""

import dataclasses
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np


@dataclasses.dataclass(frozen=True)
class Problem:
    """A problem.

    Attributes:
        name: what the paper calls it.
        residuals: ``residuals(x)``, a vector.
        x0: the standard start point, a NumPy vector of float64.
        minima: the minima that the paper prints, the global one first; six digits. None at
            infinity is among them except where it says so.
    """

    name: str
    residuals: Callable[[jax.Array], jax.Array]
    x0: np.ndarray
    minima: tuple[float, ...]

    def fun(self, x: jax.Array) -> jax.Array:
        """The function, a scalar."""
        return jnp.sum(self.residuals(x) ** 2)


PROBLEMS: list[Problem] = []


def problem(name: str, x0: object, *minima: float) -> Callable:
    """Adds the decorated residuals to the problems."""

    def add(residuals: Callable[[jax.Array], jax.Array]) -> Callable[[jax.Array], jax.Array]:
        PROBLEMS.append(Problem(name, residuals, np.asarray(x0, float), minima))
        return residuals

    return add


def numbers(text: str) -> np.ndarray:
    return np.array(text.split(), float)


def one_to(m: int) -> np.ndarray:
    return np.arange(1.0, m + 1)


@problem("Rosenbrock", [-1.2, 1], 0)
def _1(x):
    return jnp.stack([10 * (x[1] - x[0] ** 2), 1 - x[0]])


@problem("Freudenstein and Roth", [0.5, -2], 0, 48.9842)
def _2(x):
    a, b = x
    return jnp.stack([-13 + a + ((5 - b) * b - 2) * b, -29 + a + ((b + 1) * b - 14) * b])


@problem("Powell badly scaled", [0, 1], 0)
def _3(x):
    return jnp.stack([1e4 * x[0] * x[1] - 1, jnp.exp(-x[0]) + jnp.exp(-x[1]) - 1.0001])


@problem("Brown badly scaled", [1, 1], 0)
def _4(x):
    return jnp.stack([x[0] - 1e6, x[1] - 2e-6, x[0] * x[1] - 2])


@problem("Beale", [1, 1], 0)
def _5(x):
    return np.array([1.5, 2.25, 2.625]) - x[0] * (1 - jnp.stack([x[1], x[1] ** 2, x[1] ** 3]))


@problem("Jennrich and Sampson", [0.3, 0.4], 124.362)
def _6(x):
    i = one_to(10)
    return 2 + 2 * i - (jnp.exp(i * x[0]) + jnp.exp(i * x[1]))


@problem("Helical valley", [-1, 0, 0], 0)
def _7(x):
    angle = jnp.arctan(x[1] / x[0]) / (2 * jnp.pi) + jnp.where(x[0] < 0, 0.5, 0)
    radius = jnp.sqrt(x[0] ** 2 + x[1] ** 2)
    return jnp.stack([10 * (x[2] - 10 * angle), 10 * (radius - 1), x[2]])


BARD = numbers(".14 .18 .22 .25 .29 .32 .35 .39 .37 .58 .73 .96 1.34 2.10 4.39")


@problem("Bard", [1, 1, 1], 8.21487e-3, 17.4286)  # the second at infinity
def _8(x):
    u, v = one_to(15), 16 - one_to(15)
    return BARD - (x[0] + u / (v * x[1] + np.minimum(u, v) * x[2]))


GAUSSIAN = numbers(".0009 .0044 .0175 .0540 .1295 .2420 .3521 .3989")


@problem("Gaussian", [0.4, 1, 0], 1.12793e-8)
def _9(x):
    t = (8 - one_to(15)) / 2
    return x[0] * jnp.exp(-x[1] * (t - x[2]) ** 2 / 2) - np.append(GAUSSIAN, GAUSSIAN[-2::-1])


MEYER = numbers(
    "34780 28610 23650 19630 16370 13720 11540 9744 8261 7030 6005 5147 4427 3820 3307 2872"
)


@problem("Meyer", [0.02, 4000, 250], 87.9458)
def _10(x):
    return x[0] * jnp.exp(x[1] / (45 + 5 * one_to(16) + x[2])) - MEYER


@problem("Gulf research and development", [5, 2.5, 0.15], 0)
def _11(x):
    t = one_to(99) / 100
    y = 25 + (-50 * np.log(t)) ** (2 / 3)
    return jnp.exp(-(jnp.abs(y - x[1]) ** x[2]) / x[0]) - t


@problem("Box three-dimensional", [0, 10, 20], 0)
def _12(x):
    t = one_to(10) / 10
    return jnp.exp(-t * x[0]) - jnp.exp(-t * x[1]) - x[2] * (np.exp(-t) - np.exp(-10 * t))


@problem("Powell singular", [3, -1, 0, 1], 0)
def _13(x):
    a, b, c, d = x
    roots = np.sqrt([5.0, 10.0])
    return jnp.stack([a + 10 * b, roots[0] * (c - d), (b - 2 * c) ** 2, roots[1] * (a - d) ** 2])


@problem("Wood", [-3, -1, -3, -1], 0)
def _14(x):
    a, b, c, d = x
    terms = [b - a**2, 1 - a, d - c**2, 1 - c, b + d - 2, b - d]
    return np.sqrt([100, 1, 90, 1, 10, 0.1]) * jnp.stack(terms)


KOWALIK = numbers(".1957 .1947 .1735 .1600 .0844 .0627 .0456 .0342 .0323 .0235 .0246")


@problem("Kowalik and Osborne", [0.25, 0.39, 0.415, 0.39], 3.07505e-4, 1.02734e-3)  # 2nd at inf.
def _15(x):
    u = numbers("4 2 1 .5 .25 .167 .125 .1 .0833 .0714 .0625")
    return KOWALIK - x[0] * (u**2 + u * x[1]) / (u**2 + u * x[2] + x[3])


@problem("Brown and Dennis", [25, 5, -5, -1], 85822.2)
def _16(x):
    t = one_to(20) / 5
    a, b = x[0] + t * x[1] - np.exp(t), x[2] + x[3] * np.sin(t) - np.cos(t)
    return a**2 + b**2


OSBORNE_1 = numbers("""
    .844 .908 .932 .936 .925 .908 .881 .850 .818 .784 .751 .718 .685 .658 .628 .603 .580
    .558 .538 .522 .506 .490 .478 .467 .457 .448 .438 .431 .424 .420 .414 .411 .406""")


@problem("Osborne 1", [0.5, 1.5, -1, 0.01, 0.02], 5.46489e-5)
def _17(x):
    t = 10 * (one_to(33) - 1)
    return OSBORNE_1 - (x[0] + x[1] * jnp.exp(-t * x[3]) + x[2] * jnp.exp(-t * x[4]))


@problem("Biggs EXP6", [1, 2, 1, 1, 1, 1], 0, 5.65565e-3)
def _18(x):
    t = one_to(13) / 10
    y = np.exp(-t) - 5 * np.exp(-10 * t) + 3 * np.exp(-4 * t)
    return x[2] * jnp.exp(-t * x[0]) - x[3] * jnp.exp(-t * x[1]) + x[5] * jnp.exp(-t * x[4]) - y


OSBORNE_2 = numbers("""
    1.366 1.191 1.112 1.013 .991 .885 .831 .847 .786 .725 .746 .679 .608 .655 .616 .606 .602
    .626 .651 .724 .649 .649 .694 .644 .624 .661 .612 .558 .533 .495 .500 .423 .395 .375 .372
    .391 .396 .405 .428 .429 .523 .562 .607 .653 .672 .708 .633 .668 .645 .632 .591 .559 .597
    .625 .739 .710 .729 .720 .636 .581 .428 .292 .162 .098 .054""")


@problem("Osborne 2", [1.3, 0.65, 0.65, 0.7, 0.6, 3, 5, 7, 2, 4.5, 5.5], 4.01377e-2)
def _19(x):
    t = (one_to(65)[:, None] - 1) / 10
    bells = jnp.exp(-((t - x[None, 8:]) ** 2) * x[None, 5:8])
    return OSBORNE_2 - x[0] * jnp.exp(-t[:, 0] * x[4]) - bells @ x[1:4]


@problem("Watson", np.zeros(6), 2.28767e-3)
def _20(x):
    powers = (one_to(29)[:, None] / 29) ** np.arange(float(x.size))
    slopes = powers[:, :-1] @ (one_to(x.size - 1) * x[1:])
    return jnp.append(slopes - (powers @ x) ** 2 - 1, jnp.stack([x[0], x[1] - x[0] ** 2 - 1]))


@problem("Extended Rosenbrock", np.tile([-1.2, 1], 5), 0)
def _21(x):
    return jnp.append(10 * (x[1::2] - x[::2] ** 2), 1 - x[::2])


@problem("Extended Powell singular", np.tile([3, -1, 0, 1], 3), 0)
def _22(x):
    return jax.vmap(_13)(x.reshape(-1, 4)).ravel()


@problem("Penalty I", one_to(10), 7.08765e-5)
def _23(x):
    return jnp.append(np.sqrt(1e-5) * (x - 1), jnp.sum(x**2) - 0.25)


@problem("Penalty II", np.full(10, 0.5), 2.93660e-4)
def _24(x):
    i = one_to(x.size)
    y = np.exp(i / 10) + np.exp((i - 1) / 10)
    e = jnp.exp(x / 10)
    small = np.sqrt(1e-5) * jnp.append(e[1:] + e[:-1] - y[1:], e[1:] - np.exp(-0.1))
    return jnp.concatenate([x[:1] - 0.2, small, jnp.sum(i[::-1] * x**2, keepdims=True) - 1])


@problem("Variably dimensioned", 1 - one_to(10) / 10, 0)
def _25(x):
    sum_ = jnp.sum(one_to(x.size) * (x - 1))
    return jnp.append(x - 1, jnp.stack([sum_, sum_**2]))


@problem("Trigonometric", np.full(10, 0.1), 0, 2.79506e-5)
def _26(x):
    return x.size - jnp.sum(jnp.cos(x)) + one_to(x.size) * (1 - jnp.cos(x)) - jnp.sin(x)


@problem("Brown almost-linear", np.full(10, 0.5), 0, 1)
def _27(x):
    return jnp.append(x[:-1] + jnp.sum(x) - (x.size + 1), jnp.prod(x) - 1)


GRID = one_to(10) / 11


@problem("Discrete boundary value", GRID * (GRID - 1), 0)
def _28(x):
    around = jnp.pad(x, 1)
    return 2 * x - around[:-2] - around[2:] + (x + GRID + 1) ** 3 / 242


@problem("Discrete integral equation", GRID * (GRID - 1), 0)
def _29(x):
    kernel = np.minimum(GRID[:, None], GRID) * (1 - np.maximum(GRID[:, None], GRID))
    return x + kernel @ (x + GRID + 1) ** 3 / 22


@problem("Broyden tridiagonal", np.full(10, -1), 0)
def _30(x):
    around = jnp.pad(x, 1)
    return (3 - 2 * x) * x - around[:-2] - 2 * around[2:] + 1


@problem("Broyden banded", np.full(10, -1), 0)
def _31(x):
    below = np.subtract.outer(np.arange(x.size), np.arange(x.size))
    band = (below <= 5) & (below >= -1) & (below != 0)
    return x * (2 + 5 * x**2) + 1 - band.astype(float) @ (x * (1 + x))


@problem("Linear, full rank", np.ones(10), 10)  # m - n
def _32(x):
    return jnp.pad(x, (0, 10)) - jnp.sum(x) / 10 - 1


@problem("Linear, rank 1", np.ones(10), 20 * 19 / 82)  # m (m - 1) / (2 (2 m + 1))
def _33(x):
    return one_to(20) * jnp.sum(one_to(x.size) * x) - 1


# (m² + 3 m - 6) / (2 (2 m - 3))
@problem("Linear, rank 1 with zero columns and rows", np.ones(10), 454 / 74)
def _34(x):
    inner = jnp.sum(one_to(x.size)[1:-1] * x[1:-1])
    return jnp.pad(one_to(18) * inner, 1) - 1


@problem("Chebyquad", one_to(8) / 9, 3.51687e-3)
def _35(x):
    i = one_to(x.size)
    integrals = np.where(i % 2 == 0, -1 / np.maximum(i**2 - 1, 1), 0)
    polynomials = [jnp.ones_like(x), 2 * x - 1]
    for _ in i[1:]:
        polynomials.append(2 * (2 * x - 1) * polynomials[-1] - polynomials[-2])
    return jnp.mean(jnp.stack(polynomials[1:]), axis=1) - integrals
