"""Digests of the sources of the site, which change when a source does."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterable
from importlib.metadata import distributions
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = (ROOT / "fnopt", ROOT / "docs" / "_ext" / "claims.py")
"""The sources that cells of the pages run."""
SITE = tuple(ROOT / name for name in ("fnopt", "docs", "benchmarks", "examples", "CONTRIBUTING.md"))
"""The sources of the site."""


def digest(paths: Iterable[Path]) -> str:
    """A digest of all files under paths and of their names.

    Args:
        paths: files, and folders, of which caches are left out.
    """
    total = hashlib.sha256()
    for path in paths:
        files = [path] if path.is_file() else sorted(path.rglob("*"))
        for file in files:
            if file.is_file() and "__pycache__" not in file.parts:
                total.update(f"{file.relative_to(ROOT)}\0".encode())
                total.update(hashlib.sha256(file.read_bytes()).digest())
    return total.hexdigest()


def environment() -> str:
    """A digest of what is installed: Python and all packages."""
    packages = sorted((package.name, package.version) for package in distributions())
    return hashlib.sha256(repr((sys.version, packages)).encode()).hexdigest()


if __name__ == "__main__":
    print(digest(SITE))
