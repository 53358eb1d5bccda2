"""How tests run: eight CPU devices, jax's strictest modes, one line that sums up the contract."""

from __future__ import annotations

import ctypes
import gc
import os
import sys
from pathlib import Path

# The zoo, the laws, the problems and the oracles are imported by their own names.
sys.path.insert(0, str(Path(__file__).parent))

from xla_flags import FAST_TO_COMPILE, known

# Before jax is imported: it reads these once. The tests compile far more than they compute, so code
# that is compiled fast serves them better than fast code.
os.environ["XLA_FLAGS"] = " ".join(
    [
        os.environ.get("XLA_FLAGS", ""),
        "--xla_force_host_platform_device_count=8",
        *known(FAST_TO_COMPILE),
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
