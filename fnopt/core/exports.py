"""The public names of a package: what ``from package import *`` brings."""

from __future__ import annotations

from collections.abc import Mapping
from types import ModuleType
from typing import Any


def public(namespace: Mapping[str, Any], modules: tuple[str, ...] = ()) -> list[str]:
    """The names that a package exports, for its ``__all__``.

    Without it a star import would bring the modules of the package as well, whose names may be
    those of libraries in use: ``nnx`` of ``fnopt.train`` would hide that of Flax.

    Args:
        namespace: the package's ``globals()``.
        modules: names of modules that are exported all the same.
    """
    return sorted(
        name
        for name, thing in namespace.items()
        if not name.startswith("_") and (name in modules or not isinstance(thing, ModuleType))
    )
