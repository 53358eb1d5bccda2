"""The subpackages of the package, imported where they are first used."""

from __future__ import annotations

import importlib
import pkgutil
import sys
from types import ModuleType

PACKAGE = __name__.partition(".")[0]


def subpackage(name: str) -> ModuleType:
    """The subpackage of a name that the package does not have: its ``__getattr__``.

    So ``import fnopt`` alone does for ``fnopt.train.fit``, and imports Flax only then.

    Args:
        name: the name of an attribute.

    Raises:
        AttributeError: there is no such subpackage.
    """
    package = sys.modules[PACKAGE]
    if name not in _subpackages(package):
        raise AttributeError(
            f"module {PACKAGE!r} has no attribute {name!r}", name=name, obj=package
        )
    return importlib.import_module(f"{PACKAGE}.{name}")


def names() -> list[str]:
    """The names of the package, those of its subpackages included: its ``__dir__``."""
    package = sys.modules[PACKAGE]
    return sorted({*vars(package), *_subpackages(package)})


def _subpackages(package: ModuleType) -> set[str]:
    return {module.name for module in pkgutil.iter_modules(package.__path__) if module.ispkg}
