"""Which sources something was made of, as a number that changes with them."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterable
from importlib.metadata import distributions
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = (ROOT / "fnopt", ROOT / "docs" / "_ext" / "claims.py")
"""What the cells of the pages run, beside themselves."""
SITE = tuple(ROOT / name for name in ("fnopt", "docs", "benchmarks", "examples", "CONTRIBUTING.md"))
"""What the site is made of."""


def digest(paths: Iterable[Path]) -> str:
    """A number of all files under paths, of their names, and of the packages installed.

    Args:
        paths: files, and folders, of which caches are left out.
    """
    total = hashlib.sha256(sys.version.encode())
    total.update(repr(sorted((d.name, d.version) for d in distributions())).encode())
    for path in paths:
        files = [path] if path.is_file() else sorted(path.rglob("*"))
        for file in files:
            if file.is_file() and "__pycache__" not in file.parts:
                total.update(f"{file.relative_to(ROOT)}\0".encode())
                total.update(hashlib.sha256(file.read_bytes()).digest())
    return total.hexdigest()


if __name__ == "__main__":
    print(digest(SITE))
