"""Methods by name: the face, the catalogues, and what is made by name."""

from __future__ import annotations

import importlib
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

import fnopt
from fnopt.core import Transform, Wrapper
from fnopt.registry import KINDS, exported
from tools import face


def test_the_face_has_every_method():
    assert face.FACE.read_text() == face.text(), "run: make generate"


def test_the_face_can_be_written_while_it_cannot_be_imported():
    """As when a module that it imports has been renamed."""
    code = "import sys; from tools import face; face.text(); print(*vars(sys.modules['fnopt']))"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=face.ROOT, capture_output=True, text=True, check=True
    )
    assert "first_order" in done.stdout.split() and "sgd" not in done.stdout.split()


@pytest.mark.parametrize("name", ["train", "initialize", "data", "compat", "pretrained", "sweeps"])
def test_a_subpackage_is_imported_where_it_is_used(monkeypatch, name):
    module = importlib.import_module(f"fnopt.{name}")
    monkeypatch.delattr(fnopt, name)
    assert name in dir(fnopt) and getattr(fnopt, name) is module


def test_a_subpackage_that_lacks_a_library_hides_nothing_else(monkeypatch):
    """As help(fnopt) and others go through all attributes."""
    importlib.import_module("fnopt.train")
    monkeypatch.delattr(fnopt, "train")
    monkeypatch.setitem(sys.modules, "fnopt.train", None)  # importing it fails
    assert not hasattr(fnopt, "train")
    with pytest.raises(AttributeError, match=r"cannot be imported.*pip install 'fnopt\[train\]'"):
        fnopt.train  # noqa: B018


PACKAGES = (
    "core",
    "curvature",
    "data",
    "initialize",
    "layers",
    "pretrained",
    "sweeps",
    "train",
    "compat.torch",
)


@pytest.mark.parametrize("name", ["fnopt", *(f"fnopt.{package}" for package in PACKAGES)])
def test_a_star_import_brings_what_is_exported(name):
    """So that fnopt.train.nnx, a module, does not hide flax.nnx."""
    names: dict = {}
    exec(f"from {name} import *", names)
    text = Path(sys.modules[name].__file__).read_text()
    exports = {*re.findall(r"\b(\w+) as \1\b", text), *re.findall(r"^([a-z]\w+) = ", text, re.M)}
    assert names.keys() - {"__builtins__"} == exports
    modules = {x for x, thing in names.items() if isinstance(thing, ModuleType)}
    assert modules <= {"init", "lr_scheduler", "layout", "torch_layout"}  # meant to be read so


def test_a_name_that_the_face_lacks_is_refused():
    assert {"adam", "chain", "train"} <= set(dir(fnopt)) and not hasattr(fnopt, "swep")


def test_sweep_is_a_function_of_the_face_that_is_imported_where_it_is_used():
    code = (
        "import sys, fnopt; assert 'sweep' in dir(fnopt) and 'flax' not in sys.modules;"
        "print(fnopt.sweep is fnopt.sweeps.sweep)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "True\n"
    with pytest.raises(AttributeError, match="module 'fnopt' has no attribute 'trian'") as refusal:
        fnopt.trian  # noqa: B018
    # Python suggests the nearest of these.
    assert refusal.value.name == "trian" and refusal.value.obj is fnopt


def test_a_base_class_is_not_exported_and_a_method_is():
    from fnopt.schedule import plateau

    assert face.methods(plateau) == ["reduce_on_plateau"]


def test_two_methods_of_one_name_are_refused(monkeypatch):
    from fnopt.first_order import sgd

    monkeypatch.setattr(face, "modules", lambda: [sgd, sgd])
    with pytest.raises(ValueError, match=r"sgd is defined in fnopt\.first_order\.sgd and in"):
        face.text()


def test_every_optimizer_is_made_by_its_name():
    for name, entry in fnopt.optimizers().items():
        assert entry.make is getattr(fnopt, name)
    assert fnopt.optimizer("adamw", learning_rate=1e-3, b1=0.8) == fnopt.adamw(1e-3, b1=0.8)


def test_parts_and_wrappers_are_no_optimizers():
    listed = set(fnopt.optimizers())
    assert {"sgd", "adam", "adamw"} <= listed
    assert not listed & {"scale_by_adam", "scale_by_learning_rate", "chain", "clip", "Rule"}


@pytest.mark.parametrize("name", list(exported()))
def test_what_has_a_learning_rate_names_the_kind_of_optimizer_it_is(name):
    method = exported()[name]
    ready = (
        issubclass(method, Transform)
        and not issubclass(method, Wrapper)
        and any(field.endswith("learning_rate") for field in method._fields)
        and not name.startswith("scale_by_")
    )
    assert ready == (method.family not in KINDS), f"{name}.family is {method.family!r}"


def test_schedules_are_listed_without_their_base():
    assert "cosine_decay_schedule" in fnopt.schedules()
    assert "Schedule" not in fnopt.schedules()


def test_the_nearest_name_is_suggested():
    with pytest.raises(ValueError, match="no optimizer 'adamv'; did you mean 'adam"):
        fnopt.optimizer("adamv", learning_rate=0.1)
    with pytest.raises(TypeError, match="adam has no argument 'learning_rat': did you mean 'lear"):
        fnopt.optimizer("adam", learning_rat=0.1)


def test_a_catalogue_is_plain_text():
    for entry in (*fnopt.optimizers().values(), *fnopt.schedules().values()):
        assert ":class:" not in entry.summary + entry.source
        assert "`" not in entry.summary + entry.source
        assert entry.summary.endswith(".")


def test_a_catalogue_prints_a_line_and_the_source():
    lines = repr(fnopt.optimizers()).splitlines()
    row = next(i for i, line in enumerate(lines) if line.startswith("adam "))
    assert "a separate rate for every weight" in lines[row]
    assert "arXiv:1412.6980" in "".join(lines[row + 1 : row + 3])
    assert all(entry.source for entry in fnopt.optimizers().values())
