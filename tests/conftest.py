"""How tests run: eight CPU devices, jax's strictest modes, one line that sums up the contract."""

from __future__ import annotations

import ctypes
import gc
import importlib.util
import mmap
import os
import sys
from pathlib import Path

# The zoo, the laws, the problems and the oracles are imported by their own names.
sys.path.insert(0, str(Path(__file__).parent))

# Before jax is imported: it reads these once. The tests compile far more than they compute, so code
# that is compiled fast serves them better than fast code.
_FAST_TO_COMPILE = [
    "--xla_backend_optimization_level=0",
    "--xla_llvm_disable_expensive_passes=true",
    "--xla_cpu_use_fusion_emitters=false",  # they take longer than the LLVM that they emit
]


def _known(flags: list[str]) -> list[str]:
    """The flags that this version of jaxlib has: it ends the process at one that it has not."""
    folder = importlib.util.find_spec("jaxlib").submodule_search_locations[0]
    names = {flag: flag.lstrip("-").split("=")[0].encode() + b"\0" for flag in flags}
    known: set[str] = set()
    for library in Path(folder).glob("*.so"):
        with open(library, "rb") as file, mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as text:
            known |= {flag for flag, name in names.items() if text.find(name) >= 0}
    return [flag for flag in flags if flag in known]


os.environ["XLA_FLAGS"] = " ".join(
    [
        os.environ.get("XLA_FLAGS", ""),
        "--xla_force_host_platform_device_count=8",
        *_known(_FAST_TO_COMPILE),
    ]
).strip()
os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ["MPLBACKEND"] = "agg"

import jax
import pytest

pytest.register_assert_rewrite("laws")


@pytest.fixture(autouse=True)
def strictness(request):
    """No silent promotion of dtypes or ranks, but beside optax, whose parts promote."""
    if request.node.get_closest_marker("beside_optax"):
        yield
    else:
        with jax.numpy_dtype_promotion("strict"), jax.numpy_rank_promotion("raise"):
            yield


def _let_go() -> None:
    """Frees compiled programs."""
    jax.clear_caches()
    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc's alone
    if trim is not None:
        trim(0)


@pytest.fixture(autouse=True, scope="module")
def memory_of_a_module():
    yield
    _let_go()


_met: set[str] = set()


@pytest.fixture
def memory(case):
    """Frees programs every now and then: those of all the zoo would take gigabytes."""
    _met.add(case.id)
    if len(_met) > 20:
        _let_go()
        _met.clear()


def pytest_terminal_summary(terminalreporter):
    reports = [
        dict(report.user_properties)
        for outcome in ("passed", "xfailed", "failed")
        for report in terminalreporter.getreports(outcome)
        if report.when == "call"
    ]
    contract = [report for report in reports if "law" in report]
    methods, laws = ({report[key] for report in contract} for key in ("method", "law"))
    if contract:
        terminalreporter.write_line(
            f"contract: {len(methods)} methods x {len(laws)} laws, {len(contract)} checks"
        )
