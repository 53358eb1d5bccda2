"""Writes the generated part of fnopt/__init__.py: ``python tools/face.py``.

Every public transform and schedule in the packages of methods is exported, unless its ``family`` is
"" (a base class). Functions, and names from other packages, are imported by hand, above the mark.
A test compares the file with what this writes.
"""

from __future__ import annotations

import importlib
import inspect
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "fnopt"
FACE = PACKAGE / "__init__.py"
PACKAGES = ("curvature", "first_order", "matrix", "schedule", "wrap")
"""Where methods are; each module in them is read."""
MARK = "# From here on written by `make generate`: the transforms and schedules of all modules."
WIDTH = 100


def modules() -> Iterator[ModuleType]:
    """The modules of the packages of methods, in order of their names.

    They are imported without running the face, which is out of date when this is needed.
    """
    bare = ModuleType("fnopt")
    bare.__path__ = [str(PACKAGE)]
    sys.modules.setdefault("fnopt", bare)
    paths = (path for package in PACKAGES for path in (PACKAGE / package).rglob("*.py"))
    names = {
        ".".join(path.relative_to(ROOT).with_suffix("").parts)
        for path in paths
        if path.name != "__init__.py"
    }
    for name in sorted(names):
        yield importlib.import_module(name)


def methods(module: ModuleType) -> list[str]:
    """The names of the transforms and schedules that a module defines and the face exports."""
    from fnopt.core import Schedule, Transform

    return sorted(
        name
        for name, thing in vars(module).items()
        if inspect.isclass(thing)
        and issubclass(thing, (Transform, Schedule))
        and (thing.__module__, thing.__name__) == (module.__name__, name)
        and not name.startswith("_")
        and thing.family
    )


def statement(module: str, name: str) -> str:
    """An import of a name that type checkers take as exported, laid out as ruff has it."""
    line = f"from {module} import {name} as {name}"
    if len(line) <= WIDTH:
        return line + "\n"
    return f"from {module} import (\n    {name} as {name},\n)\n"


def text() -> str:
    """The face: what is written by hand, the mark, and an import of every method.

    Raises:
        ValueError: the mark is missing, or two modules define one name.
    """
    by_hand, mark, _ = FACE.read_text().partition(MARK)
    if not mark:
        raise ValueError(f"{FACE} has no line {MARK!r}")
    homes: dict[str, str] = {}
    statements = []
    for module in modules():
        for name in methods(module):
            if name in homes:
                raise ValueError(f"{name} is defined in {homes[name]} and in {module.__name__}")
            homes[name] = module.__name__
            statements.append(statement(module.__name__, name))
    return by_hand + mark + "\n# isort: off\n" + "".join(statements)


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    FACE.write_text(text())
    print(FACE.relative_to(ROOT), file=sys.stderr)
