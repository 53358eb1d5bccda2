"""The buffers of compiled programs."""

from __future__ import annotations

import math
import re
from typing import Any


def largest_buffer(compiled: Any) -> int:
    """The number of elements of the largest array in a compiled program.

    A method is matrix-free if this is a small multiple of the number of parameters, not its square.
    Compile with :func:`xla_flags.compiled_as_usual`, as users do. An array that only exists within
    a fusion, element by element, counts too.

    Args:
        compiled: what ``jax.jit(function).lower(*args).compile()`` returns.
    """
    shapes = re.findall(r"\b(?:pred|bf16|[fsuc]\d+)\[([\d,]*)\]", compiled.as_text())
    return max(math.prod(int(n) for n in shape.split(",") if n) for shape in set(shapes))
