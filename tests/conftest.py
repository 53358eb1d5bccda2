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
from shares import halve

pytest.register_assert_rewrite("laws")
# Who reads the traceback of a failed test looks for its line in this package.
jax.config.update("jax_traceback_filtering", "off")


@pytest.fixture(autouse=True)
def strictness(request):
    """No silent promotion of dtypes or ranks, but beside optax, whose parts promote."""
    if request.node.get_closest_marker("beside_optax"):
        yield
    else:
        with jax.numpy_dtype_promotion("strict"), jax.numpy_rank_promotion("raise"):
            yield


_GIB = 2**30
_bound = [1.75 * _GIB]


@pytest.fixture(autouse=True)
def memory():
    """Frees compiled programs when the process has grown large: all of them take many GiB."""
    yield
    if _resident() > _bound[0]:
        jax.clear_caches()
        gc.collect()
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # of glibc
        if trim is not None:
            trim(0)
        # What cannot be freed must not be tried again after every test.
        _bound[0] = max(_bound[0], _resident() + 0.5 * _GIB)


def _resident() -> int:
    """The bytes of memory that this process has; 0 where there is no /proc."""
    if not _STATUS.exists():
        return 0
    return int(_STATUS.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


_STATUS = Path("/proc/self/statm")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    halve(items)


def pytest_collection_finish(session):
    """Takes what is imported and collected, which stays, out of the sight of the collector."""
    gc.collect()
    gc.freeze()


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
