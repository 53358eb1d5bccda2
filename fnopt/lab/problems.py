"""Functions of two variables from the literature, as problems."""

from __future__ import annotations

import dataclasses
import math

import jax
import jax.numpy as jnp

from fnopt.core.checks import brief
from fnopt.lab.problem import Problem, of_function


@of_function(((-4.5, 4.5), (-4.5, 4.5)), (1.0, 1.0), ((3.0, 0.5),), 0.0)
def beale(x: jax.Array, y: jax.Array) -> jax.Array:
    r"""Beale's function: flat around its minimum, with steep walls at the corners.

    .. math:: (1.5 - x + xy)^2 + (2.25 - x + xy^2)^2 + (2.625 - x + xy^3)^2

    The minimum is 0 at (3, 0.5); the start is that of Moré, Garbow & Hillstrom.

    References:
        Beale, *On an iterative method for finding a local minimum of a function of more than one
        variable*, Technical report 25, Princeton University, 1958; Moré, Garbow & Hillstrom,
        *Testing unconstrained optimization software*, ACM TOMS 7, 1981, doi:10.1145/355934.355936,
        number 5.
    """
    return (1.5 - x + x * y) ** 2 + (2.25 - x + x * y**2) ** 2 + (2.625 - x + x * y**3) ** 2


@of_function(((-2.0, 2.0), (-1.0, 3.0)), (-1.2, 1.0), ((1.0, 1.0),), 0.0)
def rosenbrock(x: jax.Array, y: jax.Array) -> jax.Array:
    r"""Rosenbrock's function: a narrow curved valley with a nearly flat floor.

    .. math:: (1 - x)^2 + 100\,(y - x^2)^2

    The minimum is 0 at (1, 1); the start is Rosenbrock's.

    References:
        Rosenbrock, *An automatic method for finding the greatest or least value of a function*,
        The Computer Journal 3, 1960, doi:10.1093/comjnl/3.3.175.
    """
    return (1 - x) ** 2 + 100 * (y - x**2) ** 2


@of_function(
    ((-5.0, 5.0), (-5.0, 5.0)),
    (0.0, 0.0),
    (
        (3.0, 2.0),
        (-2.805118086952745, 3.131312518250573),
        (-3.779310253377747, -3.283185991286170),
        (3.584428340330492, -1.848126526964404),
    ),
    0.0,
)
def himmelblau(x: jax.Array, y: jax.Array) -> jax.Array:
    r"""Himmelblau's function: four minima, and a hill between them.

    .. math:: (x^2 + y - 11)^2 + (x + y^2 - 7)^2

    All four minima are 0: at (3, 2), (-2.805118, 3.131313), (-3.779310, -3.283186) and
    (3.584428, -1.848127). The start is near the top of the hill.

    References:
        Himmelblau, *Applied nonlinear programming*, McGraw-Hill, 1972.
    """
    return (x**2 + y - 11) ** 2 + (x + y**2 - 7) ** 2


@of_function(((-5.12, 5.12), (-5.12, 5.12)), (-3.4, 2.6), ((0.0, 0.0),), 0.0)
def rastrigin(x: jax.Array, y: jax.Array) -> jax.Array:
    r"""Rastrigin's function: a bowl with a local minimum near every point with integer coordinates.

    .. math:: 20 + x^2 - 10 \cos 2 \pi x + y^2 - 10 \cos 2 \pi y

    The minimum is 0 at (0, 0).

    References:
        Rastrigin, *Systems of extremal control* (in Russian), Nauka, 1974; Törn & Žilinskas,
        *Global optimization*, Springer, 1989, doi:10.1007/3-540-50871-6.
    """
    # 1 - cos 2πx, without cancellation near the minimum
    return sum((z**2 + 20 * jnp.sin(jnp.pi * z) ** 2 for z in (x, y)), jnp.zeros_like(x))


@of_function(((-5.0, 5.0), (-5.0, 5.0)), (-3.4, 2.6), ((0.0, 0.0),), 0.0)
def ackley(x: jax.Array, y: jax.Array) -> jax.Array:
    r"""Ackley's function: a funnel with ripples, and a cusp at its bottom.

    .. math:: 20 + e - 20 \exp\Bigl(-0.2 \sqrt{(x^2 + y^2) / 2}\Bigr)
        - \exp\bigl((\cos 2 \pi x + \cos 2 \pi y) / 2\bigr)

    The minimum is 0 at (0, 0), where there is no derivative; the gradient there is 0, one of the
    subgradients.

    References:
        Ackley, *A connectionist machine for genetic hillclimbing*, Kluwer, 1987,
        doi:10.1007/978-1-4613-1997-9.
    """
    square = (x**2 + y**2) / 2
    at_minimum = square == 0  # where the derivative of the root is infinite
    root = jnp.where(at_minimum, 0.0, jnp.sqrt(jnp.where(at_minimum, 1.0, square)))
    sines = jnp.sin(jnp.pi * x) ** 2 + jnp.sin(jnp.pi * y) ** 2  # 1 - (cos 2πx + cos 2πy) / 2
    return -20 * jnp.expm1(-0.2 * root) - math.e * jnp.expm1(-sines)


@of_function(((-10.0, 10.0), (-10.0, 10.0)), (-8.0, 5.0), ((0.0, 0.0),), 0.0)
def matyas(x: jax.Array, y: jax.Array) -> jax.Array:
    r"""Matyas's function: a quadratic whose valley lies along the diagonal.

    .. math:: 0.26\,(x^2 + y^2) - 0.48\,xy

    The minimum is 0 at (0, 0); the eigenvalues of the Hessian are 0.04 and 1.

    References:
        Matyas, *Random optimization*, Automation and Remote Control 26, 1965.
    """
    return 0.26 * (x**2 + y**2) - 0.48 * x * y


@of_function(
    ((-2.0, 2.0), (-2.0, 2.0)), (1.5, 0.01), ((0.0, 1.0), (0.0, -1.0)), -0.25
)  # fmt: skip
def saddle(x: jax.Array, y: jax.Array) -> jax.Array:
    r"""Nesterov's saddle: gradient descent comes close to its saddle point before it leaves.

    .. math:: \tfrac12 x^2 + \tfrac14 y^4 - \tfrac12 y^2

    The saddle is at (0, 0); the minima are -1/4, at (0, 1) and (0, -1). The start is beside the
    line from which gradient descent converges to the saddle.

    References:
        Nesterov, *Introductory lectures on convex optimization*, Kluwer, 2004,
        doi:10.1007/978-1-4419-8853-9, Example 1.2.2.
    """
    return x**2 / 2 + y**4 / 4 - y**2 / 2


@of_function(((-9.0, 3.0), (-2.0, 2.0)), (-8.0, 1.0), ((0.0, 0.0),), 0.0)
def long_valley(x: jax.Array, y: jax.Array) -> jax.Array:
    r"""A long straight valley: steep across, with a small constant slope along it.

    .. math:: \tfrac{1}{10} \bigl(\sqrt{1 + x^2} - 1\bigr) + 2 y^2

    The minimum is 0 at (0, 0). It is a ravine as Sutton describes it, with Charbonnier's function
    along it.

    References:
        Sutton, *Two problems with backpropagation and other steepest-descent learning procedures
        for networks*, Conference of the Cognitive Science Society, 1986; Charbonnier,
        Blanc-Féraud, Aubert & Barlaud, *Deterministic edge-preserving regularization in computed
        imaging*, IEEE Transactions on Image Processing 6, 1997, doi:10.1109/83.551699.
    """
    # √(1 + x²) - 1, without cancellation near the minimum
    return 0.1 * x**2 / (jnp.sqrt(1 + x**2) + 1) + 2 * y**2


@of_function(((-4.0, 4.0), (-4.0, 4.0)), (-3.0, -1.5), ((0.0, 0.0),), 0.0)
def plateau(x: jax.Array, y: jax.Array) -> jax.Array:
    r"""A well in a plateau, on which gradients vanish.

    .. math:: 1 - \exp\bigl(-(x^2 + y^2) / 2\bigr)

    The minimum is 0 at (0, 0). It is the loss of Dennis and Welsch, which ignores outliers.

    References:
        Dennis & Welsch, *Techniques for nonlinear least squares and robust regression*,
        Communications in Statistics 7, 1978, doi:10.1080/03610917808812083.
    """
    return -jnp.expm1(-(x**2 + y**2) / 2)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Quadratic:
    """A quadratic function with eigenvalues 1 and ``condition``; all of them are one program.

    Attributes:
        condition: the larger eigenvalue of the Hessian.
        cosine: cosine of the angle from the axis of x to the eigenvector of the smaller one.
        sine: sine of that angle.
    """

    condition: float
    cosine: float
    sine: float

    def __call__(self, point: jax.Array) -> jax.Array:
        along = self.cosine * point[0] + self.sine * point[1]
        across = self.cosine * point[1] - self.sine * point[0]
        return (along**2 + self.condition * across**2) / 2


def ill_conditioned_quadratic(condition: float = 50.0, angle: float = 30.0) -> Problem:
    r"""A quadratic with a straight valley of any condition number and any direction.

    .. math:: \tfrac12 (u^2 + \kappa v^2)

    with :math:`u, v` the coordinates along and across the valley. The minimum is 0 at (0, 0), the
    start at :math:`u = -3, v = 1`; gradient descent diverges above the rate :math:`2 / \kappa`.

    Args:
        condition: condition number :math:`\kappa` of the Hessian, at least 1; its eigenvalues are
            1 and :math:`\kappa`.
        angle: angle from the axis of x to the valley, in degrees; at 0 the Hessian is diagonal,
            and a rate for each coordinate can be right.

    Raises:
        ValueError: ``condition`` is below 1, or a number is not finite.

    References:
        Boyd & Vandenberghe, *Convex optimization*, Cambridge University Press, 2004, Section 9.3.2.
    """
    if not 1 <= condition < math.inf:
        raise ValueError(
            "ill_conditioned_quadratic: condition must be a number in [1, inf), got"
            f" {brief(condition, 40)}"
        )
    if not math.isfinite(angle):
        raise ValueError(
            f"ill_conditioned_quadratic: angle must be finite, in degrees, got {brief(angle, 40)}"
        )
    cosine, sine = _turn(angle)
    return Problem(
        "ill_conditioned_quadratic",
        Quadratic(float(condition), cosine, sine),
        ((-4.0, 4.0), (-4.0, 4.0)),
        (-3 * cosine - sine, cosine - 3 * sine),
        ((0.0, 0.0),),
        0.0,
    )


def problems() -> dict[str, Problem]:
    """All problems by name; those with arguments have their defaults.

    >>> import fnopt.lab
    >>> fnopt.lab.problems()["beale"].minima
    ((3.0, 0.5),)
    """
    known = (
        beale, rosenbrock, himmelblau, rastrigin, ackley, matyas, saddle, long_valley, plateau,
        ill_conditioned_quadratic(),
    )  # fmt: skip
    return {problem.name: problem for problem in known}


def _turn(angle: float) -> tuple[float, float]:
    return math.cos(math.radians(angle)), math.sin(math.radians(angle))
