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


_PAGES = 2**30 // os.sysconf("SC_PAGE_SIZE")  # in a GiB


@pytest.fixture(autouse=True)
def memory():
    """Frees compiled programs once they fill a GiB: those of all the tests would take many."""
    yield
    if _resident() > _bound[0]:
        jax.clear_caches()
        gc.collect()
        _trim()
        # What remains is not to be freed again after every test.
        _bound[0] = max(_bound[0], _resident() + _PAGES // 2)


_bound = [int(float(os.environ.get("GIB", 1.75)) * _PAGES)]


def _resident() -> int:
    """The pages of memory that this process has."""
    return int(Path("/proc/self/statm").read_text().split()[1])


def _trim() -> None:
    """Gives back to the system what the allocator keeps for later."""
    ctypes.CDLL(None).malloc_trim(0)


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
