"""What a compiled program consists of: its buffers, its kernels, the bytes it moves."""

from __future__ import annotations

import re
from typing import Any

_FREE = {"parameter", "constant", "tuple", "get-tuple-element", "bitcast"}
"""Instructions that compute nothing."""


def counts(compiled: Any) -> dict[str, Any]:
    """The numbers of a compiled program.

    Args:
        compiled: what ``jax.jit(function).lower(*args).compile()`` returns.

    Returns:
        ``arguments`` and ``results``, the numbers of buffers handed over; ``kernels``, the number
        of instructions of the entry computation that compute something, of which each is a kernel
        or a call of a library; ``bytes``, what XLA estimates that they read and write;
        ``temporary_bytes``, the memory beside arguments and results.
    """
    entry = re.split(r"^ENTRY ", compiled.as_text(), flags=re.MULTILINE)[1].split("\n}")[0]
    opcodes = re.findall(r"^\s+(?:ROOT )?%?[\w.-]+ = .*? ([a-z][\w-]*)\(", entry, re.MULTILINE)
    cost = compiled.cost_analysis() or {}
    memory = compiled.memory_analysis()
    return dict(
        arguments=opcodes.count("parameter"),
        results=len(compiled.out_tree.flatten_up_to(compiled.out_info)),
        kernels=sum(opcode not in _FREE for opcode in opcodes),
        bytes=cost.get("bytes accessed"),
        temporary_bytes=getattr(memory, "temp_size_in_bytes", None),
    )
