"""L-BFGS-B, by SciPy's own steps."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

Vector = np.ndarray


def lbfgsb(
    gradient: Callable[[Vector], Vector],
    theta: Vector,
    *,
    loss: Callable[[Vector], float],
    lower: float | None = None,
    upper: float | None = None,
    memory_size: int = 10,
    **_: float,
) -> Iterator[Vector]:
    """The iterations of the authors' code, as SciPy has it; where that ends, its last point."""
    from scipy.optimize import minimize

    path: list[Vector] = []
    end = minimize(
        lambda x: (loss(x), gradient(x)),
        theta,
        method="L-BFGS-B",
        jac=True,
        bounds=[(lower, upper)] * theta.size,
        callback=lambda x: path.append(x.copy()),
        options={"maxcor": memory_size, "ftol": 0.0, "gtol": 1e-12, "maxiter": 50},
    )
    yield from path
    while True:
        yield end.x
