"""The solvers that ``minimize.py`` compares, behind one interface."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

Fun = Callable[[jax.Array], jax.Array]


@dataclasses.dataclass(frozen=True)
class Demand:
    """When every solver is asked to stop.

    Attributes:
        tol: the largest entry of the gradient at which a point is accepted.
        maxiter: largest number of iterations.
    """

    tol: float = 1e-6
    maxiter: int = 2000


@dataclasses.dataclass(frozen=True)
class Solved:
    """What a solver says at its end.

    Attributes:
        x: the last point.
        iterations: number of iterations.
        evaluations: number of points where the function or its gradient was evaluated; None where
            the solver does not count.
        products: number of products with the Hessian.
        message: why it stopped.
    """

    x: Any
    iterations: int
    evaluations: int | None
    products: int
    message: str


@dataclasses.dataclass(frozen=True)
class Solver:
    """A solver.

    Attributes:
        build: ``build(fun, demand)`` gives a function of the start point. What that compiles, it
            compiles when it is first called.
        said: reads the end off what that function returns. None where it returns it itself.
        traceable: ``traceable(fun, demand)``, that function before it is compiled, which ``vmap``
            accepts. None for a solver that is no JAX program.
    """

    build: Callable[[Fun, Demand], Callable[[Any], Any]]
    said: Callable[[Any], Solved]
    traceable: Callable[[Fun, Demand], Callable[[Any], Any]] | None = None


def compiled(
    traceable: Callable[[Fun, Demand], Callable[[Any], Any]], said: Callable[[Any], Solved]
) -> Solver:
    """A solver that is a JAX program."""
    return Solver(lambda fun, demand: jax.jit(traceable(fun, demand)), said, traceable)


def of_fnopt(method: Any = None) -> Solver:
    """``fnopt.minimize`` with a method; None means its default."""
    import fnopt

    named = {} if method is None else {"method": method}

    def traceable(fun: Fun, demand: Demand) -> Callable[[Any], Any]:
        return lambda x0: fnopt.minimize(fun, x0, tol=demand.tol, maxiter=demand.maxiter, **named)

    def said(result: Any) -> Solved:
        evaluations = max(int(result.nfev), int(result.njev))
        return Solved(result.x, int(result.nit), evaluations, int(result.nhev), str(result.message))

    return compiled(traceable, said)


def of_scipy(method: str, products: bool = False, hessian: bool = False, **options: Any) -> Solver:
    """``scipy.optimize.minimize`` with compiled functions for all that it evaluates."""
    import scipy.optimize

    def build(fun: Fun, demand: Demand) -> Callable[[Any], Solved]:
        value_and_grad = jax.jit(jax.value_and_grad(fun))
        product = jax.jit(lambda x, v: jax.jvp(jax.grad(fun), (x,), (v,))[1])
        matrix = jax.jit(jax.hessian(fun))

        def solve(x0: Any) -> Solved:
            counts = {"evaluations": 0, "products": 0}

            def counted(x: Any) -> tuple[float, np.ndarray]:
                counts["evaluations"] += 1
                value, grads = value_and_grad(x)
                return float(value), np.asarray(grads)

            def counted_product(x: Any, v: Any) -> np.ndarray:
                counts["products"] += 1
                return np.asarray(product(x, v))

            def counted_hessian(x: Any) -> np.ndarray:
                counts["products"] += x.size
                return np.asarray(matrix(x))

            def stop(intermediate_result: Any) -> None:
                # Newton-CG has no tolerance of the gradient; this gradient is not counted.
                if np.max(np.abs(value_and_grad(intermediate_result.x)[1])) <= demand.tol:
                    raise StopIteration

            arguments: dict[str, Any] = {"hessp": counted_product} if products else {}
            if hessian:
                arguments["hess"] = counted_hessian
            if method == "Newton-CG":
                arguments["callback"] = stop
            else:
                options["gtol"] = demand.tol
            result = scipy.optimize.minimize(
                counted,
                np.asarray(x0),
                jac=True,
                method=method,
                options={**options, "maxiter": demand.maxiter},
                **arguments,
            )
            return Solved(result.x, int(result.nit), **counts, message=str(result.message))

        return solve

    return Solver(build, lambda solved: solved)


def of_optimistix(kind: str) -> Solver:
    """``optimistix.minimise``, which stops by the gradient as the others do."""
    import optimistix

    class ByGradient:
        # optimistix compares iterates: with a tolerance near the precision that says that no
        # progress is made.
        def terminate(self, fn, y, args, options, state, tags):
            done, result = super().terminate(fn, y, args, options, state, tags)  # type: ignore
            flat = jnp.max(jnp.abs(state.f_info.grad)) <= demanded[0]
            return done | (flat & (state.num_accepted_steps > 0)), result

    class BFGS(ByGradient, optimistix.BFGS):
        pass

    class LBFGS(ByGradient, optimistix.LBFGS):
        pass

    class Dogleg(ByGradient, optimistix.AbstractBFGS):
        rtol: float
        atol: float
        norm: Callable
        use_inverse: bool
        descent: optimistix.DoglegDescent
        search: optimistix.ClassicalTrustRegion
        verbose: Callable

        def __init__(self, rtol: float, atol: float):
            self.rtol, self.atol, self.norm = rtol, atol, optimistix.max_norm
            self.use_inverse = False
            self.descent = optimistix.DoglegDescent()
            self.search = optimistix.ClassicalTrustRegion()
            self.verbose = lambda **_: None

    demanded = [Demand().tol]
    solvers = {"BFGS": BFGS, "LBFGS": LBFGS, "BFGS, dogleg": Dogleg}

    def traceable(fun: Fun, demand: Demand) -> Callable[[Any], Any]:
        demanded[0] = demand.tol
        solver = solvers[kind](rtol=1e-14, atol=1e-14)

        def solve(x0: Any) -> Any:
            solution = optimistix.minimise(
                lambda x, args: fun(x), solver, x0, max_steps=demand.maxiter, throw=False
            )
            return solution.value, solution.stats["num_steps"], solution.result._value

        return solve

    def said(result: Any) -> Solved:
        x, steps, ended = result
        return Solved(x, int(steps), None, 0, f"result {int(ended)}")

    return compiled(traceable, said)


def of_jaxopt(kind: str) -> Solver:
    """A solver of jaxopt, whose tolerance is one of the gradient's 2-norm."""
    import jaxopt

    def traceable(fun: Fun, demand: Demand) -> Callable[[Any], Any]:
        solver = getattr(jaxopt, kind)(
            fun, maxiter=demand.maxiter, tol=demand.tol, implicit_diff=False
        )

        def solve(x0: Any) -> Any:
            x, state = solver.run(x0)
            return x, state.iter_num, state.error

        return solve

    def said(result: Any) -> Solved:
        x, iterations, error = result
        return Solved(x, int(iterations), None, 0, f"error {float(error):.1e}")

    return compiled(traceable, said)


def counting(fun: Fun) -> tuple[Fun, list[int]]:
    """A function that counts its evaluations while a compiled program runs, and the count."""
    count = [0]

    def increment() -> None:
        count[0] += 1

    def counted(x: jax.Array) -> jax.Array:
        jax.debug.callback(increment)
        return fun(x)

    return counted, count


# name: how to make it. Made when asked for, so that a peer that is not installed is no mistake.
# The default is newton_cg.
SOLVERS: dict[str, Callable[[], Solver]] = {
    "fnopt default": of_fnopt,
    "fnopt bfgs": lambda: of_fnopt("bfgs"),
    "fnopt lbfgs": lambda: of_fnopt("lbfgs"),
    "fnopt trust_newton": lambda: of_fnopt("trust_newton"),
    "fnopt nonlinear_cg": lambda: of_fnopt("nonlinear_cg"),
    "scipy BFGS": lambda: of_scipy("BFGS"),
    "scipy L-BFGS-B": lambda: of_scipy("L-BFGS-B", ftol=0.0, maxfun=10**6),
    "scipy Newton-CG": lambda: of_scipy("Newton-CG", products=True, xtol=1e-14),
    "scipy trust-ncg": lambda: of_scipy("trust-ncg", products=True),
    "scipy trust-exact": lambda: of_scipy("trust-exact", hessian=True),
    "optimistix BFGS": lambda: of_optimistix("BFGS"),
    "optimistix BFGS, dogleg": lambda: of_optimistix("BFGS, dogleg"),
    "optimistix LBFGS": lambda: of_optimistix("LBFGS"),
    "jaxopt BFGS": lambda: of_jaxopt("BFGS"),
    "jaxopt LBFGS": lambda: of_jaxopt("LBFGS"),
}
