"""What a log says of the machine, the versions and the command."""

from __future__ import annotations

import importlib.metadata
import os
import pathlib
import platform
import subprocess
import sys
import time
from typing import Any

import jax

HERE = pathlib.Path(__file__).resolve().parent
PACKAGES = ("jax", "jaxlib", "flax", "optax", "numpy", "torch")


def machine() -> dict[str, Any]:
    """The first record of a log."""
    return dict(
        cpu=_cpu(),
        cores=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        load_average=load_average(),
        system=f"{platform.system()} {platform.release()}",
        python=platform.python_version(),
        devices=sorted({f"{d.platform}: {d.device_kind}" for d in jax.devices()}),
        versions={name: _version(name) for name in PACKAGES},
        xla_flags=os.environ.get("XLA_FLAGS", ""),
        commit=_output("git", "describe", "--always", "--dirty"),
        command=" ".join(["python", f"benchmarks/{pathlib.Path(sys.argv[0]).name}", *sys.argv[1:]]),
        started=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    )


def load_average() -> tuple[float, float, float] | None:
    """How busy the machine is, this process included: of 1, 5 and 15 minutes; None if unknown."""
    return os.getloadavg() if hasattr(os, "getloadavg") else None


def _cpu() -> str:
    info = pathlib.Path("/proc/cpuinfo")
    if info.exists():
        named = [line for line in info.read_text().splitlines() if line.startswith("model name")]
        if named:
            return named[0].split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _output(*command: str) -> str | None:
    try:
        return subprocess.run(
            command, cwd=HERE, capture_output=True, text=True, check=True
        ).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None
