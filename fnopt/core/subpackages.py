"""The subpackages of the package, imported where they are first used, and its public names."""

from __future__ import annotations

import importlib
import pkgutil
import sys
from types import ModuleType
from typing import Any

from fnopt.core.exports import public

PACKAGE = __name__.partition(".")[0]
LATER = {"sweep": "sweeps"}
"""Functions that the package has by name, and the subpackage of each, which needs Flax."""


def attribute(name: str) -> Any:
    """An attribute that the package does not have yet: its ``__getattr__``.

    It is a subpackage, so that ``import fnopt`` alone does for ``fnopt.train.fit`` and imports Flax
    only then; a function of one, as ``fnopt.sweep``; or ``__all__``.

    Args:
        name: the name of the attribute.

    Raises:
        AttributeError: it is none of these, or what the subpackage needs is not installed.
    """
    package = sys.modules[PACKAGE]
    if name == "__all__":
        return public(vars(package))
    if name in LATER:
        return getattr(attribute(LATER[name]), name)
    if name not in _subpackages(package):
        raise AttributeError(
            f"module {PACKAGE!r} has no attribute {name!r}", name=name, obj=package
        )
    try:
        return importlib.import_module(f"{PACKAGE}.{name}")
    except ImportError as error:  # what looks through all attributes, as help does, must go on
        raise AttributeError(
            f"{PACKAGE}.{name} cannot be imported: {error}; pip install 'fnopt[train]' installs"
            " what training needs"
        ) from error


def names() -> list[str]:
    """The names of the package, those of its subpackages included: its ``__dir__``."""
    package = sys.modules[PACKAGE]
    return sorted({*vars(package), *LATER, *_subpackages(package)})


def _subpackages(package: ModuleType) -> set[str]:
    return {module.name for module in pkgutil.iter_modules(package.__path__) if module.ispkg}
