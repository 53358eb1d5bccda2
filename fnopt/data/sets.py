"""The data sets by their names."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from fnopt.core import did_you_mean
from fnopt.data.austen import austen
from fnopt.data.digits import digits
from fnopt.data.fashion_mnist import fashion_mnist
from fnopt.data.tables import breast_cancer, diabetes, wine

_WITH_PYTHON: dict[str, Callable[[], Any]] = {
    make.__name__: make for make in (breast_cancer, diabetes, digits, wine)
}
_WITH_DEBIAN: dict[str, Callable[..., Any]] = {
    make.__name__: make for make in (austen, fashion_mnist)
}


def names() -> list[str]:
    """Names of all data sets, whether or not they are installed here.

    Examples:
        >>> names()
        ['austen', 'breast_cancer', 'diabetes', 'digits', 'fashion_mnist', 'wine']
    """
    return sorted({*_WITH_PYTHON, *_WITH_DEBIAN})


def load(name: str, root: str | Path | None = None) -> Any:
    """A data set: examples to train on and to test on, or a :class:`~fnopt.data.Text`.

    Args:
        name: one of :func:`names`; the function of this name describes the data.
        root: folder where the Debian package is unpacked, for data that come with one; None for
            the usual one.

    Raises:
        ValueError: there is none of this name; the nearest is suggested.
        ImportError: the Python package that has it is not installed; says which.
        FileNotFoundError: the Debian package that has it is not; says which.
    """
    if name in _WITH_DEBIAN:
        return _WITH_DEBIAN[name](root)
    if name not in _WITH_PYTHON:
        raise ValueError(f"no data set {name!r}; {did_you_mean(name, names())}")
    return _WITH_PYTHON[name]()
