"""What of many cases ``make test`` runs; ``make test-all`` runs every one."""

from __future__ import annotations

import zlib
from collections.abc import Iterable

import pytest


def in_share(name: str, of: int, shift: int = 0) -> bool:
    """Whether one of several shares of all names has this one, which no other name decides."""
    return (zlib.crc32(name.encode()) + shift) % of == 0


HALVED = {
    "average", "clip", "curvature_products", "damage", "diagnose", "diagonal_curvature", "docs",
    "empty", "evaluation", "extreme_gradients", "groups", "lbfgsb", "least_squares", "loaders",
    "matrix_kfac", "matrix_muon", "matrix_shampoo", "matrix_soap", "minimize", "moment_dtypes",
    "newton", "noise_scale", "norms", "optax_suites", "packed_state", "pretrain", "range_test",
    "recipes", "resume", "scanned_layers", "schedules", "step_options", "sweep_identity",
    "torch_lbfgs", "torch_optim", "waiting", "watch", "zero_rates",
}  # fmt: skip
"""Modules of tests whose many cases take long: half of the cases of each test are slow."""


def halve(items: Iterable[pytest.Item]) -> None:
    """Marks half of the cases of each test of these modules as slow; its first case never."""
    seen: set[str] = set()
    for item in items:
        if item.path.stem.removeprefix("test_") in HALVED and hasattr(item, "callspec"):
            test = item.nodeid.partition("[")[0]
            if test in seen and in_share(item.name, 2):
                item.add_marker(pytest.mark.slow)
            if not item.get_closest_marker("slow"):
                seen.add(test)
