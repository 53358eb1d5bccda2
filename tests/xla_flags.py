"""Flags that let XLA compile small programs fast, as far as the installed jaxlib has them."""

from __future__ import annotations

import importlib.util
import mmap
from pathlib import Path
from typing import Any

FAST_TO_COMPILE = [
    "--xla_backend_optimization_level=0",
    "--xla_llvm_disable_expensive_passes=true",
    "--xla_cpu_use_fusion_emitters=false",  # these take longer than LLVM does
    "--xla_cpu_parallel_codegen_split_count=1",  # a small program is one module
]


def known(flags: list[str]) -> list[str]:
    """The flags that the installed jaxlib has; one that it does not have ends the process.

    Args:
        flags: as in ``XLA_FLAGS``.
    """
    spec = importlib.util.find_spec("jaxlib")
    folders = (spec and spec.submodule_search_locations) or []
    names = {flag: flag.lstrip("-").split("=")[0].encode() + b"\0" for flag in flags}
    matches: set[str] = set()
    for library in (path for folder in folders for path in Path(folder).glob("*.so")):
        with open(library, "rb") as file, mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as text:
            matches |= {flag for flag, name in names.items() if text.find(name) >= 0}
    return [flag for flag in flags if flag in matches]


_EMITTERS = (
    {"xla_cpu_use_fusion_emitters": True} if known(["--xla_cpu_use_fusion_emitters"]) else {}
)


def compiled_as_usual(lowered: Any) -> Any:
    """A lowered program, compiled with the emitters that XLA uses outside these tests.

    For tests that read the compiled program: without fusion emitters it has copies of its own.
    """
    return lowered.compile(_EMITTERS)
