"""Files of data from Debian packages: where they are, and whether they are the right ones."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

VARIABLE = "FNOPT_DATA"


def find(package: str, folder: str, name: str, root: str | Path | None) -> Path:
    """The path of a package's file.

    Args:
        package: Debian's name of the package.
        folder: the folder in which the package puts the file, without the leading slash.
        name: the name of the file.
        root: the folder that the package was unpacked in, or that has the file; None uses the
            environment variable ``FNOPT_DATA``, and without it the installed packages.

    Raises:
        FileNotFoundError: there is no such file; says how to get it.
    """
    root = Path(os.environ.get(VARIABLE, "/") if root is None else root)
    for path in (root / folder / name, root / name):
        if path.exists():
            return path
    raise FileNotFoundError(
        f"no {root / folder / name}: it is in Debian's package {package}. Install that, apt-get"
        f" install {package}; or unpack it, apt-get download {package} && dpkg-deb -x"
        f" {package}_*.deb data, and say where by root='data' or {VARIABLE}=data"
    )


def check_sha256(raw: bytes, expected: str, path: Path) -> None:
    """Refuses data other than those that results are reported for.

    Raises:
        ValueError: their SHA-256 is another.
    """
    checksum = hashlib.sha256(raw).hexdigest()
    if checksum != expected:
        raise ValueError(f"{path} holds other data: SHA-256 {checksum}, not {expected}")
