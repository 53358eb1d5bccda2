"""Convolutions in a traced program: XLA's loops make them slow on a CPU."""

from __future__ import annotations

from typing import Any

import jax


def slow_in_loops(program: Any) -> bool:
    """Whether a traced program is slower inside of a loop than alone.

    On a CPU a program with a convolution is. XLA uses its fast kernels only where a convolution
    is in no loop and no branch; elsewhere it is 5 times as slow or more (jax 0.10 to 0.12).

    Args:
        program: a jaxpr, as ``jax.make_jaxpr`` returns it.
    """
    return jax.default_backend() == "cpu" and _convolves(program)


def _convolves(program: Any) -> bool:
    """Whether a convolution is in a program, or in one that is a parameter of a part."""
    jaxpr = getattr(program, "jaxpr", program)
    if isinstance(jaxpr, (tuple, list)):
        return any(map(_convolves, jaxpr))
    return any(
        eqn.primitive.name == "conv_general_dilated" or any(map(_convolves, eqn.params.values()))
        for eqn in getattr(jaxpr, "eqns", ())
    )
